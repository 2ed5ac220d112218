"""The code for onnxruntime in docs/export.md predicts the class that the zoo predicts."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import exporters
import zoo
from zoo import images

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
SNIPPET = re.search(r"## Run the file with onnxruntime\n.*?```python\n(.*?)```", PAGE, re.DOTALL)[1]


def photograph(mode):
    """A picture of 30x40 pixels with a little of everything."""
    noise = np.random.default_rng(8).integers(0, 256, (40, 30, 4), "uint8")
    noise[8:30, 5:20, :3] //= 4
    if mode == "I;16":
        return Image.fromarray(noise[..., 0].astype("uint16") * 257)
    return Image.fromarray(noise).convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5-modern.mnist", {}),
        ("lenet5-modern.mnist", {"layout": "nhwc", "pixels": "float32"}),
        ("alexnet-cifar.cifar10", {}),
    ],
)
def test_snippet_predictions_equal_those_of_the_zoo(name, options, mode, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exporters.to_onnx(name, "photos.onnx", **options)
    photograph(mode).save("new.png")
    namespace = {}
    exec(compile(SNIPPET.replace("new.jpg", "new.png"), "export.md", "exec"), namespace)
    classifier = zoo.load(name)
    expected = classifier.predict_on_batch(images.read("new.png", classifier.image_spec)[None])
    np.testing.assert_allclose(namespace["scores"], expected, rtol=1e-3, atol=1e-3)
    assert capsys.readouterr().out.strip() == classifier.class_names[expected[0].argmax()]
