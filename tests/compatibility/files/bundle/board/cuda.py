"""CUDA's runtime through ctypes: it is on every JetPack, and its Python packages are not."""

import collections
import ctypes
import ctypes.util
import glob
import os
import sys

from .files import BundleError
from .typed import told

TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
MAJOR, MINOR = 75, 76  # cudaDeviceAttr: compute capability
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
LARGEST_PROPERTIES = 1 << 14  # bytes; cudaDeviceProp grows with each version, and begins with 256 of a name
PLACES = ("/usr/local/cuda/lib64", "/usr/local/cuda/targets/*/lib", "/usr/lib/*-linux-gnu")

Device = collections.namedtuple("Device", "name compute_capability free_mb total_mb cuda")


def _library():
    """Return the loaded libcudart; raises `BundleError` if there is none."""
    packages = [os.path.join(path, "nvidia", "*", "lib") for path in sys.path if path.endswith("-packages")]
    names = ["libcudart.so", ctypes.util.find_library("cudart")]
    for place in [*PLACES, *packages]:
        names += sorted(glob.glob(os.path.join(place, "libcudart.so*")), reverse=True)
    for name in filter(None, names):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise BundleError("there is no libcudart.so here; install JetPack's CUDA: sudo apt-get install nvidia-jetpack")


class Cuda:
    """The first GPU.

    Raises:
        BundleError: if there is no runtime, no driver or no GPU; later, what CUDA says of a call that fails.
    """

    def __init__(self):
        self._library = _library()
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        try:
            self.call("cudaGetDeviceCount", ctypes.byref(ctypes.c_int()))  # none is an error, too
        except BundleError as error:
            raise BundleError(
                f"there is no GPU that CUDA can use ({error}); {told('verify.py', cpu=True)} needs none"
            ) from None

    def call(self, name, *arguments):
        """Call a function of the runtime."""
        code = getattr(self._library, name)(*arguments)
        if code:
            mend = "; build with a smaller --max-batch" if code == OUT_OF_MEMORY else ""
            raise BundleError(f"{name}: {self._library.cudaGetErrorString(code).decode()} (CUDA error {code}){mend}")

    def device(self):
        """Return what is known of the GPU, a `Device`: name, "8.7", MB of memory, and "12.6" of CUDA."""
        properties = ctypes.create_string_buffer(LARGEST_PROPERTIES)
        self.call("cudaGetDeviceProperties", properties, 0)
        free, total, version = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_int()
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        self.call("cudaRuntimeGetVersion", ctypes.byref(version))
        return Device(
            name=properties.value.decode(errors="replace"),
            compute_capability=f"{self._attribute(MAJOR)}.{self._attribute(MINOR)}",
            free_mb=free.value >> 20,
            total_mb=total.value >> 20,
            cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
        )

    def _attribute(self, number):
        value = ctypes.c_int()
        self.call("cudaDeviceGetAttribute", ctypes.byref(value), number, 0)
        return value.value

    def memory(self, size):
        """Return the address of so many new bytes on the GPU, an int."""
        return self._pointer("cudaMalloc", ctypes.c_size_t(size))

    def stream(self):
        """Return a new stream, an int."""
        return self._pointer("cudaStreamCreate")

    def event(self):
        """Return a new event, an int."""
        return self._pointer("cudaEventCreate")

    def _pointer(self, name, *arguments):
        pointer = ctypes.c_void_p()
        self.call(name, ctypes.byref(pointer), *arguments)
        return pointer.value

    def to_device(self, address, array, stream):
        """Copy a contiguous array to the GPU."""
        self._copy(address, array.ctypes.data, array.nbytes, TO_DEVICE, stream)

    def to_host(self, array, address, stream):
        """Fill a contiguous array from the GPU."""
        self._copy(array.ctypes.data, address, array.nbytes, TO_HOST, stream)

    def _copy(self, target, source, size, kind, stream):
        target, source, stream = (ctypes.c_void_p(each) for each in (target, source, stream))
        self.call("cudaMemcpyAsync", target, source, ctypes.c_size_t(size), kind, stream)

    def synchronize(self, stream):
        """Wait until all that a stream was given is done; what failed in it is raised here."""
        self.call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def record(self, event, stream):
        self.call("cudaEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))

    def milliseconds(self, start, end):
        """Return the time between two recorded events of a stream that is done."""
        elapsed = ctypes.c_float()
        self.call("cudaEventElapsedTime", ctypes.byref(elapsed), ctypes.c_void_p(start), ctypes.c_void_p(end))
        return elapsed.value


def probe():
    """Return the `Device` of this machine; raises `BundleError` if there is none."""
    return Cuda().device()
