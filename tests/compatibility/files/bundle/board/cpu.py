"""The model on the CPU with onnxruntime, where there is no GPU or another opinion is wanted."""

from .files import ONNX, BundleError, arranged

PROVIDERS = ["CPUExecutionProvider"]
# Without it, a sum of two products of eight bits is cut off at 16 bits where there is AVX2 or AVX-512 and no VNNI.
EXACT_SUMS = {"session.x64quantprecision": "1"}


def load(bundle):
    """Return an object that runs model.onnx as `runtime.Runtime` runs an engine.

    Raises:
        BundleError: if there is no onnxruntime, or it cannot read the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError(
            f"Python cannot import onnxruntime ({error}); install it with pip3 install onnxruntime, which has packages for "
            "the Pythons of JetPack 4 to 7; where pip refuses, in a python3 -m venv --system-site-packages"
        ) from None
    return Session(onnxruntime, ONNX, bundle)


class Session:
    """A session of onnxruntime.

    Attributes:
        usual: pictures at a time, as of an engine.
        most: None, as any number of pictures goes at a time.
    """

    most = None

    def __init__(self, onnxruntime, path, bundle):
        self._bundle, self.usual = bundle, bundle["profile"]["opt"]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised
        for entry in EXACT_SUMS.items():
            options.add_session_config_entry(*entry)
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=PROVIDERS)
        except Exception as error:  # onnxruntime's errors share no public base
            raise BundleError(f"onnxruntime cannot read {path}: {str(error).splitlines()[0]}") from None
        if self._session.get_providers() != PROVIDERS:
            raise BundleError(f"onnxruntime runs the model on {self._session.get_providers()} instead of the CPU")

    def run(self, pictures):
        """Return the scores of pictures, (n, height, width, channels) uint8, as (n, classes) float32."""
        given = {self._bundle["input"]["name"]: arranged(pictures, self._bundle)}
        (scores,) = self._session.run([self._bundle["output"]["name"]], given)
        return scores
