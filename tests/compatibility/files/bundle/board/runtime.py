"""An engine that runs: (n, height, width, channels) raw pixels to (n, classes) scores."""

import numpy as np

from . import sidecar
from .cuda import Cuda
from .engine import imported, logger
from .files import BundleError, arranged

DTYPES = {"float32": "FLOAT", "uint8": "UINT8"}  # NumPy's name -> TensorRT's


def load(path, bundle):
    """Return the engine of a file, a `Runtime`, if it was built from this bundle's model, on this board.

    Raises:
        BundleError: if it was not, or there is no GPU or no TensorRT.
    """
    facts = sidecar.read(path)
    cuda = Cuda()  # first: a runtime of TensorRT may crash where there is no GPU
    trt = imported()
    sidecar.check(path, facts, trt.__version__, cuda.device())
    with open(path, "rb") as file:
        return Runtime(trt, cuda, file.read(), bundle, facts["profile"], facts["dla_core"])


class Runtime:
    """An engine in the memory of the GPU.

    Attributes:
        usual: pictures at a time, for which the engine is fastest.
        most: pictures at a time; more are run one batch after another.
    """

    def __init__(self, trt, cuda, content, bundle, profile, dla_core=None):
        """Take an engine, bytes, the batches that it was built for, and the DLA core; see `engine.build`."""
        self._bundle, self._cuda = bundle, cuda
        self._least, self.usual, self.most = profile["min"], profile["opt"], profile["max"]
        self._log = logger(trt)
        self._runtime = trt.Runtime(self._log)
        runtime = self._runtime
        if dla_core is not None:
            runtime.DLA_core = dla_core
        self._engine = runtime.deserialize_cuda_engine(content)
        if not self._engine:
            raise BundleError(f"TensorRT cannot load the engine: {self._told()}; build it again: {sidecar.BUILD}")
        self._context = self._engine.create_execution_context()
        if not self._context:  # it holds what the layers compute
            raise BundleError(f"TensorRT has no memory to run the engine: {self._told()}; build with a smaller --max-batch")
        self._check(bundle["input"])
        self._check(bundle["output"])
        (classes,) = bundle["output"]["shape"]
        size = int(np.prod(bundle["input"]["shape"])) * np.dtype(bundle["input"]["dtype"]).itemsize
        self._given, self._scores = cuda.memory(self.most * size), cuda.memory(self.most * classes * 4)
        self._stream, self._start, self._end = cuda.stream(), cuda.event(), cuda.event()

    def run(self, pictures, times=None):
        """Return the scores of pictures, (n, height, width, channels) uint8, as (n, classes) float32.

        Args:
            times: a list that takes the milliseconds which the GPU needs for each batch, without copies.
        """
        batches = [self._batch(pictures[at : at + self.most], times) for at in range(0, len(pictures), self.most)]
        return np.concatenate(batches)

    def _batch(self, pictures, times):
        count, cuda = len(pictures), self._cuda
        if count < self._least:  # as of DLA, which takes one size
            pictures = np.concatenate([pictures, np.repeat(pictures[-1:], self._least - count, axis=0)])
        given = arranged(pictures, self._bundle)
        scores = np.empty((len(given), *self._bundle["output"]["shape"]), "float32")
        cuda.to_device(self._given, given, self._stream)
        cuda.record(self._start, self._stream)
        self._enqueue(given.shape)
        cuda.record(self._end, self._stream)
        cuda.to_host(scores, self._scores, self._stream)
        cuda.synchronize(self._stream)
        if times is not None:
            times.append(cuda.milliseconds(self._start, self._end))
        return scores[:count]

    def _enqueue(self, shape):
        engine, context = self._engine, self._context
        given, scores = self._bundle["input"]["name"], self._bundle["output"]["name"]
        if hasattr(context, "execute_async_v3"):
            taken = context.set_input_shape(given, shape)
            context.set_tensor_address(given, self._given)
            context.set_tensor_address(scores, self._scores)
            done = taken and context.execute_async_v3(self._stream)
        else:
            places = engine.get_binding_index(given), engine.get_binding_index(scores)
            taken = context.set_binding_shape(places[0], shape)
            addresses = dict(zip(places, (self._given, self._scores)))
            done = taken and context.execute_async_v2([addresses[0], addresses[1]], self._stream)
        if not done:
            raise BundleError(f"TensorRT cannot run a batch of {shape[0]}: {self._told()}; build it again: {sidecar.BUILD}")

    def _check(self, end):
        """Refuse an engine whose memory would be read as something else."""
        engine, name = self._engine, end["name"]
        if hasattr(engine, "get_tensor_dtype"):
            found = engine.get_tensor_dtype(name)
        else:
            found = engine.get_binding_dtype(engine.get_binding_index(name))
        if found.name != DTYPES[end["dtype"]]:
            raise BundleError(
                f"the engine has {name} as {found.name} instead of {end['dtype']}; build it again: {sidecar.BUILD}"
            )

    def _told(self):
        return "; ".join(self._log.errors[-2:]) or "it does not say why"
