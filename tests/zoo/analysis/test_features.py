"""Features, the search for similar images, and feature files, also hostile ones."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from zoo import ZooError, registry
from zoo.analysis import feature_file, features
from zoo.analysis.receptive_field import receptive_field
from zoo.commands import similar
from zoo.layers import GroupedConv2D


@pytest.fixture(scope="module")
def modern():
    return zoo.load("lenet5-modern.mnist")


@pytest.fixture(scope="module")
def digit_images():
    """Five drawings of 28x28; the fourth is the first, shifted by one pixel."""
    generator = np.random.default_rng(1)
    shapes = np.zeros((5, 28, 28, 1), "uint8")
    for shape in shapes:
        for _ in range(3):
            top, left = generator.integers(4, 18, 2)
            shape[top : top + 6, left : left + 2] = shape[top : top + 2, left : left + 6] = 230
    shapes[3] = np.roll(shapes[0], 1, axis=1)
    return shapes


def wrapped(*layers, shape, classes=3):
    """A classifier with given layers."""
    net = keras.Sequential([keras.Input(shape, name="image"), *layers], name="mine")
    about = zoo.card("linear")
    size = dict(zip(("height", "width", "channels"), shape, strict=True))
    return registry.wrap(net, about.model_copy(update={"picture": about.picture.model_copy(update=size)}), range(classes))


def convolved(x, kernel, bias):
    """ReLU of a convolution without padding, position by position."""
    size = kernel.shape[0]
    places = [[x[:, i : i + size, j : j + size] for j in range(x.shape[2] - size + 1)] for i in range(x.shape[1] - size + 1)]
    sums = [[np.tensordot(window, kernel, axes=([1, 2, 3], [0, 1, 2])) for window in row] for row in places]
    return np.maximum(np.moveaxis(np.array(sums), 2, 0) + bias, 0)


def pooled(x):
    n, height, width, maps = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, maps).max(axis=(2, 4))


def lenet5_modern_in_numpy(net, images, scale, shift):
    """The outputs of its layers by name, in NumPy."""
    weights = {layer.name: layer.get_weights() for layer in net.layers}
    x = np.pad(images.astype("float64"), ((0, 0), (2, 2), (2, 2), (0, 0))) * scale + shift
    out = {"c1": convolved(x, *weights["c1"])}
    out["s2"] = pooled(out["c1"])
    out["c3"] = convolved(out["s2"], *weights["c3"])
    x = pooled(out["c3"]).reshape(len(images), -1)
    for name in ("f5", "f6"):
        kernel, bias = weights[name]
        x = out[name] = np.maximum(x @ kernel + bias, 0)
    kernel, bias = weights["scores"]
    out["scores"] = x @ kernel + bias
    return out


def test_features_are_the_outputs_of_layers(modern, digit_images):
    """They are computed after the activation, from raw pixels, for any batch size."""
    expected = lenet5_modern_in_numpy(modern.net, digit_images, modern.preprocessing.scale, modern.preprocessing.shift)
    for name, values in expected.items():
        found = features.extract(modern, digit_images, name, batch_size=2)
        assert found.dtype == np.float32 and (found.min() >= 0 or name == "scores")
        np.testing.assert_allclose(found, values.reshape(5, -1), rtol=1e-4, atol=1e-4)
        for size in (1, 5, 64):
            other = features.extract(modern, digit_images, name, batch_size=size)
            np.testing.assert_allclose(other, found, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(features.extract(modern, digit_images), features.extract(modern, digit_images, "f6"))
    assert features.extract(modern, digit_images[:0], "f6").shape == (0, 84)


def test_weights_are_shared_and_the_model_is_unchanged(digit_images):
    classifier = zoo.load("lenet5-modern.mnist")
    scores, part = classifier.predict_on_batch(digit_images), features.until(classifier, "f6")
    assert {id(weight) for weight in part.weights} < {id(weight) for weight in classifier.weights}
    classifier.net.get_layer("f6").bias.assign(np.full(84, 1e3, "float32"))
    assert part.predict_on_batch(digit_images).min() > 500
    features.until(classifier, "c1")
    assert np.abs(classifier.predict_on_batch(digit_images) - scores).max() > 1
    assert classifier.net.get_layer("f6").output.shape == (None, 84)


@pytest.mark.parametrize(
    "name, layer",
    [("lenet5-modern", "f6"), ("lenet5", "f6_squash"), ("mlp", "hidden1_squash"), ("madaline", "adalines")],
)
def test_layer_before_the_output(name, layer):
    assert features.layer_of(zoo.load(name)).name == layer


def test_dropout_and_softmax_are_not_the_layer_before_the_output():
    dense, dropout, softmax = keras.layers.Dense, keras.layers.Dropout, keras.layers.Softmax
    tail = (dense(4, activation="relu", name="fc7"), dropout(0.5), dense(3, name="fc8"), softmax(name="softmax"))
    assert features.layer_of(wrapped(keras.layers.Flatten(), *tail, shape=(4, 4, 1))).name == "fc7"


def test_unknown_layer(modern):
    with pytest.raises(
        ZooError, match=r"no layer 'f66'; did you mean 'f6'.* Its layers: c1, s2, c3, s4, flatten, f5, f6, scores$"
    ):
        features.extract(modern, np.zeros((1, 28, 28, 1), "uint8"), "f66")
    with pytest.raises(ZooError, match=r"linear has no layer with weights before.*--layer: flatten, scores$"):
        features.layer_of(zoo.load("linear"))


def test_nets_that_are_not_a_chain():
    """A layer with several outputs is refused; of a layer that is used several times, the first output is taken."""

    class Both(keras.layers.Layer):
        def call(self, x):
            return x, -x

        def compute_output_shape(self, shape):
            return shape, shape

    image = keras.Input((4, 4, 1), name="image")
    twice = keras.layers.Conv2D(1, 3, padding="same", bias_initializer="ones", name="twice")
    up, down = Both(name="both")(twice(keras.layers.ReLU(name="relu")(twice(image))))
    x = keras.layers.Flatten(name="flatten")(keras.layers.Concatenate(name="beside")([up, down]))
    net = keras.Model(image, keras.layers.Dense(3, name="scores")(x), name="mine")
    spec = zoo.card("linear").picture.model_copy(update={"height": 4, "width": 4})
    classifier = registry.wrap(net, zoo.card("linear").model_copy(update={"picture": spec}), range(3))
    blank = np.zeros((2, 4, 4, 1), "uint8")
    with pytest.raises(ZooError, match="layer both has several outputs; choose a layer after it"):
        features.until(classifier, "both")
    assert features.layer_of(classifier).name == "relu"  # the activation after the first
    np.testing.assert_array_equal(features.extract(classifier, blank, "twice"), 1)
    assert features.extract(classifier, blank, "beside").shape == (2, 32)
    assert receptive_field(classifier, "relu") == ((-1, 1, 3),) * 2
    assert receptive_field(classifier, "beside") is None


def scattered(rows=400, width=7, offset=0.0):
    """Random features of a folder."""
    vectors = (np.random.default_rng(0).normal(size=(rows, width)) + offset).astype("float32")
    paths = tuple(f"class/{number:04}.png" for number in range(rows))
    return feature_file.Features(vectors, paths, "lenet5-modern.mnist", "f6", "/photos", "0" * 64)


@pytest.mark.parametrize("offset", [0, 3000])
def test_nearest_agrees_with_all_distances_sorted(offset):
    """Also far from the origin, where |x|² - 2xb + |b|² in float32 loses all digits of the distance."""
    found = scattered(offset=offset)
    for number in (0, 7, 399):
        vector = found.vectors[number] + np.float32(0.25)
        naive = np.array(
            [sum((float(a) - float(b)) ** 2 for a, b in zip(row, vector, strict=True)) for row in found.vectors]
        )
        places, distances = feature_file.nearest(found, vector, 12)
        np.testing.assert_array_equal(places, np.argsort(naive, kind="stable")[:12])
        np.testing.assert_allclose(distances, np.sqrt(np.sort(naive)[:12]), rtol=1e-12)


def test_distances_beyond_float32_are_sorted_exactly():
    """In two distant clusters, few digits of the distances within a cluster remain in float32."""
    found = scattered()
    found.vectors[::2] += 3000
    found.vectors[1::2] -= 3000
    vector = found.vectors[4] + np.float32(0.25)
    naive = ((found.vectors.astype("float64") - vector) ** 2).sum(axis=1)
    np.testing.assert_array_equal(feature_file.nearest(found, vector, 12)[0], np.argsort(naive, kind="stable")[:12])


def test_duplicates_and_a_count_above_the_number_of_images():
    found = scattered(rows=3)
    found.vectors[2] = found.vectors[0]
    places, distances = feature_file.nearest(found, found.vectors[0], 12)
    assert places.tolist() == [0, 2, 1] and distances[:2].tolist() == [0, 0] and distances[2] > 0


def folder_of(images, folder):
    for number, image in enumerate(images):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    return folder


def test_folder_is_read_batch_by_batch(modern, digit_images, tmp_path, monkeypatch):
    """A file that is not an image is skipped, and the other vectors keep their paths."""
    monkeypatch.setattr(features, "BATCH", 2)
    folder = folder_of(digit_images, tmp_path / "photos")
    (folder / "a" / "-.png").write_text("no image")
    found, problems = features.of_folder(modern, "lenet5-modern.mnist", folder)
    assert found.paths == ("a/0.png", "a/2.png", "a/4.png", "b/1.png", "b/3.png")
    assert found.layer == "f6" and found.folder == str(folder.resolve()) and found.fingerprint == modern.fingerprint()
    np.testing.assert_allclose(found.vectors, features.extract(modern, digit_images[[0, 2, 4, 1, 3]]), rtol=1e-5, atol=1e-5)
    assert len(problems) == 1 and "-.png is not an image" in problems[0]
    with pytest.raises(ZooError, match=r"-\.png is not an image"):
        features.of_folder(modern, "lenet5-modern.mnist", folder, strict=True)
    (folder / "b" / "x.png").write_text("none either")  # in another batch than the first
    with pytest.raises(ZooError, match=r"-\.png is not an image.*\n.*x\.png is not an image"):
        features.of_folder(modern, "lenet5-modern.mnist", folder, strict=True)
    (folder / "b" / "x.png").unlink()
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x.png").write_text("")
    with pytest.raises(ZooError, match="none of the images can be read"):
        features.of_folder(modern, "lenet5-modern.mnist", tmp_path / "none")
    monkeypatch.setattr(features, "LARGEST", 1000)
    with pytest.raises(ZooError, match=r"6 images with the 4,704 features of layer c1 .* such as f6"):
        features.of_folder(modern, "lenet5-modern.mnist", folder, "c1")


def test_weights_that_are_nan(tmp_path, digit_images):
    classifier = zoo.load("lenet5-modern")
    classifier.net.get_layer("f6").bias.assign(np.full(84, np.nan, "float32"))
    with pytest.raises(ZooError, match="the outputs of layer f6 of lenet5-modern are not finite"):
        features.of_folder(classifier, "lenet5-modern", folder_of(digit_images, tmp_path))


def test_strongest_activations_of_a_unit(modern, digit_images, tmp_path):
    folder = folder_of(digit_images, tmp_path)
    out = lenet5_modern_in_numpy(modern.net, digit_images, modern.preprocessing.scale, modern.preprocessing.shift)
    for name, unit, responses in (("c3", 5, out["c3"][..., 4].max(axis=(1, 2))), ("scores", 10, out["scores"][:, 9])):
        found, problems = features.strongest(modern, folder, name, unit, 3)
        assert [int(path.stem) for path, _ in found] == np.argsort(-responses)[:3].tolist() and not problems
        np.testing.assert_allclose([value for _, value in found], np.sort(responses)[::-1][:3], rtol=1e-4, atol=1e-4)
    for unit in (0, 17):
        with pytest.raises(ZooError, match=f"layer c3 has units 1 to 16, not {unit}"):
            features.strongest(modern, folder, "c3", unit, 3)


def test_saved_and_loaded(tmp_path):
    found = scattered()
    feature_file.save(found, tmp_path / "new" / "kept.npz")
    again = feature_file.load(tmp_path / "new" / "kept.npz")
    np.testing.assert_array_equal(again.vectors, found.vectors)
    assert (again.paths, again.model, again.layer) == (found.paths, found.model, found.layer)
    assert (again.folder, again.fingerprint) == (found.folder, found.fingerprint)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["kept.npz"]


def hostile(**changes):
    found = scattered(rows=4)
    arrays = {name: np.array(getattr(found, name)) for name in ("paths", *feature_file.TEXTS)}
    return {"vectors": found.vectors, **arrays, **changes}


NAN, HUGE = scattered(rows=4).vectors, scattered(rows=4).vectors
NAN[1, 2], HUGE[1, 2] = np.nan, 1e30


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"vectors": np.array([[{}, 1]] * 4, object)}, "allow_pickle=False"),
        ({"model": np.array({"name": "x"}, object)}, "allow_pickle=False"),
        ({"vectors": np.zeros((4, 7))}, "not \\(4, 7\\) float64"),
        ({"vectors": np.zeros((4, 7, 1), "float32")}, "not \\(4, 7, 1\\)"),
        ({"vectors": np.zeros((0, 7), "float32"), "paths": np.zeros(0, "U1")}, "not \\(0, 7\\)"),
        ({"vectors": NAN}, "not finite or too large"),
        ({"vectors": HUGE}, "not finite or too large"),
        ({"paths": np.array(["a.png"] * 3)}, "one text for each of 4 vectors, not \\(3,\\)"),
        ({"paths": np.array([b"a.png"] * 4)}, "not \\(4,\\) |S5"),
        ({"paths": np.array(["a.png", "b/../../c.png", "d.png", "e.png"])}, r"'b/../../c.png' is not an image below"),
        ({"paths": np.array(["a.png", "/etc/c.png", "d.png", "e.png"])}, "'/etc/c.png' is not an image below"),
        ({"paths": np.array(["a.png", "shadow", "d.png", "e.png"])}, "'shadow' is not an image below"),
        ({"layer": np.array(["f6"])}, "layer must be one text, not \\(1,\\)"),
        ({"folder": np.array("")}, "folder must be one text"),
        ({"fingerprint": np.array(7)}, "fingerprint must be one text"),
    ],
)
def test_hostile_files(changes, message, tmp_path):
    np.savez(tmp_path / "x.npz", **hostile(**changes))
    with pytest.raises(ZooError, match=message) as error:
        feature_file.load(tmp_path / "x.npz")
    assert "x.npz" in str(error.value) and "zoo features" in str(error.value)


def test_damaged_files(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(ZooError, match=r"no file .*; to write one: zoo features MODEL FOLDER --out "):
        feature_file.load(path)
    np.savez(path, **hostile())
    whole = path.read_bytes()
    for damaged in (b"", b"no archive", whole[:50], whole[: len(whole) // 2], whole[:-30], whole[:200] + whole[210:]):
        path.write_bytes(damaged)
        with pytest.raises(ZooError, match="not a feature file, or it is damaged"):
            feature_file.load(path)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ZooError, match="not a feature file"):
        feature_file.load(tmp_path / "x.npy")
    arrays = hostile()
    del arrays["folder"]
    np.savez(path, **arrays)
    with pytest.raises(ZooError, match="folder is not a file in the archive"):
        feature_file.load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.npy", bytes(3 * 2**20))
    assert path.stat().st_size < 10_000
    with pytest.raises(ZooError, match="claims to unpack to 3,145,728 bytes"):
        feature_file.load(path)


def test_features_of_other_weights(modern, tmp_path):
    found = feature_file.Features(np.zeros((1, 84), "float32"), ("a.png",), "x", "f6", "/a b", modern.fingerprint())
    features.check(found, modern, "x.npz")
    with pytest.raises(ZooError, match=r"other weights than those of x; .* zoo features x '/a b' --layer f6 --out x\.npz"):
        features.check(found, zoo.load("lenet5-modern"), "x.npz")
    short = feature_file.Features(np.zeros((1, 80), "float32"), ("a.png",), "x", "f6", "/a", modern.fingerprint())
    with pytest.raises(ZooError, match="80 features, but layer f6 has 84"):
        features.check(short, modern, "x.npz")


conv, pool = keras.layers.Conv2D, keras.layers.MaxPooling2D
CHAINS = {
    "plain": ([conv(2, (5, 3), strides=(3, 2), name="a"), pool(2, name="z")], 23),
    "same": ([conv(2, 3, strides=2, padding="same", name="a"), conv(2, 4, padding="same", name="z")], 20),
    "groups": ([conv(4, 5, strides=2, name="a"), pool(3, 2), GroupedConv2D(4, 3, padding="same", name="z")], 29),
    "beyond": ([keras.layers.ZeroPadding2D(((2, 1), (0, 3))), conv(2, 3, dilation_rate=2, name="z")], 14),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_unit_depends_on_the_pixels_of_its_receptive_field_only(chain):
    """Each pixel is changed; the unit changes exactly for those in the rectangle, within the image."""
    layers, side = CHAINS[chain]
    layers = [type(layer).from_config(layer.get_config()) for layer in layers]
    classifier = wrapped(*layers, keras.layers.Flatten(), keras.layers.Dense(3), shape=(side, side, 1))
    generator = np.random.default_rng(0)
    for layer in classifier.net.layers:
        layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    base = generator.integers(100, 156, (side, side, 1)).astype("float32")
    poked = np.repeat(base[None], 2 * side * side, axis=0)
    for number in range(side * side):  # up and down, because a maximum may hide one of them
        poked[number, number // side, number % side] += 5000
        poked[side * side + number, number // side, number % side] -= 5000
    shape = classifier.net.get_layer("z").output.shape[1:]
    part = features.until(classifier, "z")
    still = part.predict_on_batch(base[None])[0]
    moved = (np.abs(part.predict_on_batch(poked) - still) > 1e-2).any(axis=-1)
    moved = moved[: side * side] | moved[side * side :]
    rows, columns = receptive_field(classifier, "z")
    for i, j in np.ndindex(*shape[:2]):
        expected = np.zeros((side, side), bool)
        edges = [
            (first + step * at, first + step * at + size)
            for (first, step, size), at in zip((rows, columns), (i, j), strict=True)
        ]
        window = [slice(max(start, 0), max(end, 0)) for start, end in edges]
        expected[tuple(window)] = True
        seen = np.zeros((side, side), bool)
        seen.reshape(-1)[moved[:, i, j]] = True
        if chain == "beyond":  # a dilated kernel skips pixels
            lines, places = np.nonzero(seen)
            seen[lines.min() : lines.max() + 1, places.min() : places.max() + 1] = True
            assert not (seen & ~expected).any() and expected.sum() - seen.sum() <= expected.shape[0] * 2
        else:
            np.testing.assert_array_equal(seen, expected)


def test_receptive_fields():
    """LeNet-5, as in its paper: 28x28 with padding of 2."""
    lenet5 = zoo.load("lenet5")
    assert receptive_field(lenet5, "c1") == ((-2, 1, 5),) * 2
    assert receptive_field(lenet5, "c3_squash") == ((-2, 2, 14),) * 2
    assert receptive_field(lenet5, "c5") == ((-2, 4, 32),) * 2
    assert receptive_field(lenet5, "f6") is None
    assert receptive_field(zoo.load("neocognitron"), "s1") is None


def test_commands(zoo_in_process, digit_images, tmp_path, monkeypatch, capsys):
    """From a folder to the images most similar to one: itself, then the shifted one."""
    folder_of(digit_images, tmp_path / "photos")
    (tmp_path / "photos" / "b" / "x.png").write_text("no image")
    child = zoo_in_process("features", "lenet5-modern.mnist", "photos", "--out", "kept.npz", cwd=tmp_path)
    assert child.returncode == 0 and child.stderr == ""
    first, second, last = child.stdout.splitlines()
    assert first.startswith("skipped: photos/b/x.png is not an image") and last == "next: zoo similar IMAGE kept.npz"
    assert second == "kept.npz: 5 vectors of the 84 features of layer f6"
    child = zoo_in_process("similar", "photos/a/0.png", "kept.npz", "--count", "3", "--json", cwd=tmp_path)
    assert child.returncode == 0 and child.stderr == ""
    answer = json.loads(child.stdout)
    assert [row["picture"] for row in answer["nearest"][:2]] == ["a/0.png", "b/3.png"] and len(answer["nearest"]) == 3
    assert answer["nearest"][0]["distance"] < 1e-4 < answer["nearest"][1]["distance"]
    with Image.open(tmp_path / "similar.png") as sheet:
        assert sheet.format == "PNG" and min(sheet.size) > 300 and max(sheet.size) < 2000
    monkeypatch.chdir(tmp_path)
    similar.similar(Path("photos/a/0.png"), Path("photos"), "lenet5-modern.mnist", "c3", out=Path("new/x.png"))
    first, *_, left_out, about, last = capsys.readouterr().out.splitlines()
    assert first.split()[1] == "a/0.png" and left_out.startswith("skipped: ")
    assert about == "new/x.png: the 5 nearest of 5 images, layer c3 of lenet5-modern.mnist"
    assert f"zoo features lenet5-modern.mnist {tmp_path.resolve()}/photos --layer c3 --out features.npz" in last
    assert Path("new/x.png").is_file()
    Path("photos/b/3.png").unlink()
    with pytest.raises(ZooError, match=r"no file .*b/3\.png; if the folder has changed.* zoo features .* --out kept\.npz"):
        similar.similar(Path("photos/a/0.png"), Path("kept.npz"))


@pytest.mark.parametrize(
    "words, message",
    [
        (["similar", "no.png", "photos"], "no file no.png"),
        (
            ["similar", "a.png", "none.npz"],
            "no folder or file none.npz; to write one: zoo features MODEL FOLDER --out none.npz",
        ),
        (["similar", "a.png", "kept.npz", "--layer", "f5"], "kept.npz has the features of layer f6, not f5"),
        (["features", "lenet5-modrn", "photos"], "did you mean 'lenet5-modern'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_refused_commands(words, message, zoo_in_process, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    feature_file.save(scattered(), tmp_path / "kept.npz")
    child = zoo_in_process(*words, cwd=tmp_path)
    assert child.returncode == 2 and child.stdout == "" and message in child.stderr
    assert len(child.stderr.splitlines()) == 1
