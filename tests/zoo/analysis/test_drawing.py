"""`zoo show` draws the weights and activations of layers."""

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from zoo import ZooError, registry, rules
from zoo.analysis import drawing, layer_images


def wrapped(*layers, shape=(28, 28, 1), classes=10, card="linear"):
    net = keras.Sequential([keras.Input(shape, name="image"), *layers], name="mine")
    about = zoo.card(card)
    spec = about.picture.model_copy(update=dict(zip(("height", "width", "channels"), shape, strict=True)))
    return registry.wrap(net, about.model_copy(update={"picture": spec}), range(classes))


def test_linear_classifier_has_one_template_per_class():
    classifier = zoo.load("linear.mnist")
    layer, found = layer_images.weight_images(classifier)
    assert layer == "scores" and [title for title, _ in found] == list("0123456789")
    kernel = classifier.net.get_weights()[0]
    for number, (_, array) in enumerate(found):
        for row, column in ((0, 0), (3, 17), (27, 27)):
            assert array.shape == (28, 28) and array[row, column] == kernel[28 * row + column, number]


def test_at_most_a_hundred_units_are_drawn(tmp_path):
    """The number of all units is returned too."""
    flatten, dense = keras.layers.Flatten(), keras.layers.Dense
    classifier = wrapped(flatten, dense(120, name="hidden"), dense(10))
    layer, found = layer_images.weight_images(classifier)
    assert layer == "hidden" and [title for title, _ in found] == [str(number) for number in range(1, 121)]
    assert drawing.draw(classifier, tmp_path / "a.png") == ("hidden", 100, 120)


def test_only_output_units_are_named_after_classes():
    flatten, dense = keras.layers.Flatten(), keras.layers.Dense
    _, found = layer_images.weight_images(wrapped(flatten, dense(3, name="hidden"), dense(3), classes=3))
    assert [title for title, _ in found] == ["1", "2", "3"]
    _, found = layer_images.weight_images(wrapped(flatten, dense(3, name="answer"), keras.layers.Softmax(), classes=3))
    assert [title for title, _ in found] == ["0", "1", "2"]


def test_response_unit_is_drawn_through_the_plugboard():
    """The weight of a pixel is the sum over its wires, computed one by one."""
    classifier = zoo.load("mark1.letters")
    layer, found = layer_images.weight_images(classifier)
    assert layer == "response" and [title for title, _ in found] == classifier.class_names
    wiring, kernel = (classifier.net.get_layer(name).get_weights()[0] for name in ("association", "response"))
    for number, (_, array) in enumerate(found):
        assert array.shape == (20, 20)
        for row, column in ((0, 0), (7, 12), (19, 19)):
            wires = np.flatnonzero(wiring[20 * row + column])
            expected = sum(float(wiring[20 * row + column, unit]) * float(kernel[unit, number]) for unit in wires)
            assert len(wires) == 40 and array[row, column] == pytest.approx(expected, abs=1e-4)


def test_kernels():
    classifier = zoo.load("lenet5.mnist")
    layer, found = layer_images.weight_images(classifier)
    assert layer == "c1" and len(found) == 6
    np.testing.assert_array_equal(found[4][1], classifier.net.get_layer("c1").get_weights()[0][:, :, 0, 4])


def test_kernels_on_rgb_are_one_image_and_those_on_maps_one_per_pair():
    tail = (keras.layers.Flatten(), keras.layers.Dense(10))
    convolution = keras.layers.Conv2D(4, 3)
    _, found = layer_images.weight_images(wrapped(convolution, *tail, shape=(8, 8, 3)))
    np.testing.assert_array_equal(found[2][1], convolution.get_weights()[0][..., 2])
    masked = zoo.layers.MaskedConv2D([[1], [0, 1]], 3)
    expand = keras.layers.Concatenate()
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten()(masked(expand([image, image])))
    net = keras.Model(image, keras.layers.Dense(10)(x), name="mine")
    spec = zoo.card("linear").picture.model_copy(update={"height": 8, "width": 8})
    classifier = registry.wrap(net, zoo.card("linear").model_copy(update={"picture": spec}), range(10))
    _, found = layer_images.weight_images(classifier)
    assert [title for title, _ in found] == ["1 to 1", "2 to 1", "1 to 2", "2 to 2"]
    kernel = masked.get_weights()[0]
    for (_, array), expected in zip(
        found, [0 * kernel[..., 0], kernel[..., 0], kernel[..., 1], kernel[..., 2]], strict=True
    ):
        np.testing.assert_array_equal(array, expected)


def test_memorized_images_are_drawn_without_preprocessing():
    net = zoo.build("nearest-neighbor", capacity=60)
    classifier = registry.wrap(net, zoo.card("nearest-neighbor"), range(10))
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (50, 28, 28, 1), "uint8"), np.arange(50) % 4
    with pytest.raises(ZooError, match="neighbors has nothing to draw before training"):
        layer_images.weight_images(classifier)
    rules.Memorize().train_on_batch(net, classifier.preprocessing(images), labels)
    _, found = layer_images.weight_images(classifier)
    assert [title for title, _ in found] == [each for each in "0123" for _ in range(10)]
    np.testing.assert_array_equal(found[12][1], images[9, ..., 0])  # the third image of class 1


def test_layer_with_its_own_images():
    class Asked(keras.layers.Dense):
        def images(self):
            return [("mine", np.eye(3))]

    layer, found = layer_images.weight_images(wrapped(keras.layers.Flatten(), Asked(10, name="asked")))
    assert layer == "asked" and found[0][0] == "mine"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((keras.layers.BatchNormalization(name="norm"), keras.layers.Flatten(), keras.layers.Dense(10)), r"norm \(Batch"),
        ((keras.layers.AveragePooling2D(2), keras.layers.Flatten(), keras.layers.Dense(10, name="d")), r"d \(Dense\)"),
        ((keras.layers.AveragePooling2D(14), keras.layers.Flatten(), keras.layers.Softmax()), "no layer with weights"),
    ],
)
def test_weights_that_cannot_be_drawn(layers, message):
    with pytest.raises(ZooError, match=message):
        layer_images.weight_images(wrapped(*layers, classes=4 if "no layer" in message else 10))


def test_positive_weights_are_red_and_negative_ones_blue(tmp_path):
    classifier = zoo.load("linear", classes=["a", "b"])
    kernel = np.zeros((28, 28, 2), "float32")
    kernel[..., 0], kernel[..., 1] = 1, -1
    classifier.net.set_weights([kernel.reshape(784, 2), np.zeros(2)])
    assert drawing.draw(classifier, tmp_path / "a.png") == ("scores", 2, 2)
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"), "int32")
    left, right = (pixels[pixels.shape[0] // 2, pixels.shape[1] * quarter // 4] for quarter in (1, 3))
    assert left[0] > left[2] + 50 and right[2] > right[0] + 50
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_layer_by_its_name():
    """After the first layer there is one kernel per pair of input and output map, within groups."""
    convolutions = [
        keras.layers.Conv2D(3, 3, name="a"),
        keras.layers.Conv2D(4, 3, name="b"),
        keras.layers.Conv2D(6, 3, groups=2, name="c"),
        zoo.layers.GroupedConv2D(3, 1, groups=3, name="d"),
    ]
    classifier = wrapped(*convolutions, keras.layers.Flatten(), keras.layers.Dense(10, name="scores"), shape=(8, 8, 3))
    kernels = [layer.get_weights()[0] for layer in convolutions]
    layer, found = layer_images.weight_images(classifier, "b")
    assert layer == "b" and [title for title, _ in found][:4] == ["1 to 1", "2 to 1", "3 to 1", "1 to 2"]
    np.testing.assert_array_equal(found[5][1], kernels[1][:, :, 2, 1])
    _, found = layer_images.weight_images(classifier, "c")
    seen = {output: (1, 2) if output <= 3 else (3, 4) for output in range(1, 7)}
    assert [title for title, _ in found] == [f"{source} to {output}" for output in seen for source in seen[output]]
    np.testing.assert_array_equal(found[7][1], kernels[2][:, :, 1, 3])
    _, found = layer_images.weight_images(classifier, "d")
    assert [title for title, _ in found] == [f"{s} to {o}" for o, s in ((1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (3, 6))]
    assert layer_images.weight_images(classifier)[0] == layer_images.weight_images(classifier, "a")[0] == "a"
    with pytest.raises(ZooError, match=r"layer scores \(Dense\) has no weights that can be drawn.*--layer scores --image"):
        layer_images.weight_images(classifier, "scores")
    with pytest.raises(ZooError, match="no layer 'score'; did you mean 'scores'"):
        layer_images.weight_images(classifier, "score")


def test_second_dense_layer_has_no_templates():
    dense = keras.layers.Dense
    classifier = wrapped(keras.layers.Flatten(), dense(784, name="first"), dense(10, name="second"))
    assert layer_images.weight_images(classifier, "first")[1][0][1].shape == (28, 28)
    with pytest.raises(ZooError, match="layer second"):
        layer_images.weight_images(classifier, "second")


def test_layer_after_the_plugboard_by_its_name():
    classifier = zoo.load("mark1.letters")
    (layer, found), (other, same) = (layer_images.weight_images(classifier, name) for name in ("response", "association"))
    assert layer == other == "response"
    np.testing.assert_array_equal(found[3][1], same[3][1])


@pytest.fixture(scope="module")
def lenet():
    return zoo.load("lenet5.mnist")


@pytest.fixture(scope="module")
def seven():
    image = np.zeros((28, 28, 1), "uint8")
    image[6:9, 8:20], image[9:22, 15:18] = 250, 220
    return image


@pytest.mark.parametrize("name", ["c1", "s2_squash", "c3"])
def test_activations_are_the_outputs_of_the_layer(lenet, seven, name):
    x = lenet.preprocessing(seven[None])
    for layer in lenet.net.layers[1:]:
        x = layer(x)
        if layer.name == name:
            break
    found = layer_images.activations(lenet, seven, name)
    assert [title for title, _ in found] == [str(number + 1) for number in range(x.shape[-1])]
    for number, (_, array) in enumerate(found):
        np.testing.assert_allclose(array, x[0, ..., number], rtol=1e-4, atol=1e-4)


def test_units_without_maps_are_one_array(lenet, seven):
    scores = lenet.predict_on_batch(seven[None])[0]
    ((title, array),) = layer_images.activations(lenet, seven, "rbf")
    assert title == "rbf"
    np.testing.assert_allclose(array, scores, rtol=1e-4)
    assert layer_images.activations(lenet, seven, "c5")[0][1].shape == (120,)  # maps of one unit


def test_heat_map_lies_on_the_receptive_fields():
    """Two kernels that detect a bright spot, with a stride and without padding."""
    spot = keras.layers.Conv2D(2, 3, strides=2, name="spot")
    classifier = wrapped(spot, keras.layers.Flatten(name="flatten"), keras.layers.Dense(10), shape=(21, 31, 1))
    kernel = np.zeros((3, 3, 1, 2), "float32")
    kernel[1, 1, 0, 1] = 1
    spot.set_weights([kernel, np.zeros(2)])
    image = np.zeros((21, 31, 1), "uint8")
    image[13, 5] = 200
    values, extent, box = layer_images.heat_map(classifier, image, "spot", 2)
    assert values.shape == (10, 15) and values.argmax() == 6 * 15 + 2
    assert extent == (0.5, 30.5, 20.5, 0.5)  # the center of unit (6, 2) is that of pixel (13, 5)
    assert extent[0] + (2 + 0.5) * 2 == 5.5 and extent[3] + (6 + 0.5) * 2 == 13.5
    assert box == (4, 12, 3, 3)
    assert not layer_images.heat_map(classifier, image, "spot", 1)[0].any()
    with pytest.raises(ZooError, match="layer spot has units 1 to 2, not 3"):
        layer_images.heat_map(classifier, image, "spot", 3)
    with pytest.raises(ZooError, match="has no feature maps"):
        layer_images.heat_map(classifier, image, "flatten", 3)


def test_heat_map_of_unknown_receptive_fields_covers_the_image():
    classifier = zoo.load("neocognitron")
    image = np.random.default_rng(0).integers(0, 256, classifier.input_image_shape, "uint8")
    height, width, _ = classifier.input_image_shape
    values, extent, box = layer_images.heat_map(classifier, image, "c1", 1)
    assert values.shape == (10, 10) and extent == (0, width, height, 0) and box is None


def sane(path):
    with Image.open(path) as image:
        return image.format == "PNG" and min(image.size) > 200 and max(image.size) < 2500


def test_files_of_activations(lenet, seven, tmp_path):
    path = tmp_path / "a.png"
    for name, unit, counts in (("c3", None, (16, 16)), ("c3", 16, (1, 16)), ("rbf", None, (10, 10)), ("f6", 84, (1, 84))):
        assert drawing.draw_activations(lenet, seven, path, name, unit) == (name, *counts) and sane(path)
        path.unlink()
    many = wrapped(keras.layers.Conv2D(120, 3, name="many"), keras.layers.Flatten(), keras.layers.Dense(10))
    assert drawing.draw_activations(many, seven, path, "many") == ("many", 100, 120) and sane(path)
    path.unlink()
    with pytest.raises(ZooError, match="layer rbf has units 1 to 10, not 0"):
        drawing.draw_activations(lenet, seven, path, "rbf", 0)
    assert not path.exists()


def test_many_kernels_are_a_grid_in_color_on_one_scale(tmp_path):
    """Of 96 kernels the first is white, the second black, the third red, and zero is gray."""
    convolution = keras.layers.Conv2D(96, 11, strides=4, name="conv1")
    classifier = wrapped(convolution, keras.layers.Flatten(), keras.layers.Dense(10), shape=(43, 43, 3))
    kernel = np.zeros((11, 11, 3, 96), "float32")
    kernel[..., 0], kernel[..., 1], kernel[..., 0, 2] = 2, -2, 2
    convolution.set_weights([kernel, np.zeros(96)])
    assert drawing.draw(classifier, tmp_path / "a.png") == ("conv1", 96, 96) and sane(tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"), "int32")
    black = (pixels < 10).all(axis=-1)
    red = (np.abs(pixels - [255, 127, 127]) < 4).all(axis=-1)
    gray = (np.abs(pixels - 127) < 4).all(axis=-1)
    rows, columns = (np.flatnonzero(gray.sum(axis=axis) > 200) for axis in (1, 0))
    tile = red.sum()
    assert 60**2 < tile < 100**2 and gray.sum() == pytest.approx(93 * tile, rel=0.03)
    assert tile <= black.sum() < 1.3 * tile  # plus black letters
    assert rows.size > 8 * 60 and columns.size > 12 * 60


def test_contact_sheet_with_any_names(seven, tmp_path):
    names = ["$5$/a_b^c.png", "a\nb\x1b[31m.png", "long" * 40 + "/x.png", "100 %.png", "plain.png"]
    tiles = [([f"{number}", name], seven) for number, name in enumerate(names)]
    drawing.contact_sheet(tiles, tmp_path / "a.png", "the $nearest", (["\udcff.png"], np.repeat(seven, 3, axis=2)))
    drawing.contact_sheet(tiles[:1], tmp_path / "b.png", "one")
    drawing.contact_sheet(tiles * 20, tmp_path / "c.png", "a hundred")
    assert all(sane(tmp_path / f"{letter}.png") for letter in "abc")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--unit", "1"], "--image FILE, or a folder with --data FOLDER"),
        (["--layer", "c1", "--data", "photos"], "name it with --unit"),
        (["--image", "a.png"], "name it with --layer"),
        (["--layer", "c1", "--unit", "1", "--image", "a.png", "--data", "photos"], "give one of them"),
        (["--augmented", "--layer", "c1"], "omit --layer"),
        (["--seed", "1"], "needs --augmented"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_refused_options(words, message, zoo_in_process, tmp_path):
    child = zoo_in_process("show", "lenet5.mnist", *words, cwd=tmp_path)
    assert child.returncode == 2 and child.stdout == "" and message in child.stderr
    assert len(child.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_command_with_images(zoo_in_process, seven, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.fromarray(np.roll(seven[..., 0], 2 * number, axis=0)).save(tmp_path / "photos" / f"{number}.png")
    child = zoo_in_process("show", "lenet5.mnist", "--layer", "c3", "--image", "photos/0.png", cwd=tmp_path)
    assert (child.returncode, child.stdout, child.stderr) == (0, "lenet5.mnist-c3-0.png: layer c3, 16 of 16\n", "")
    (tmp_path / "photos" / "x.png").write_text("no image")
    child = zoo_in_process("show", "lenet5.mnist", "--layer", "rbf", "--unit", "8", "--data", "photos", cwd=tmp_path)
    assert child.returncode == 0 and child.stderr == ""
    *best, left_out, last = child.stdout.splitlines()
    values = [float(line.split()[0]) for line in best]
    assert len(values) == 3 and values == sorted(values, reverse=True) and left_out.startswith("skipped: photos/x.png")
    assert last == "lenet5.mnist-rbf-8-photos.png: layer rbf, unit 8, 3 images"
    assert sane(tmp_path / "lenet5.mnist-c3-0.png") and sane(tmp_path / "lenet5.mnist-rbf-8-photos.png")


def test_command(zoo_in_process, tmp_path):
    child = zoo_in_process("show", "lenet5.mnist", cwd=tmp_path)
    assert (child.returncode, child.stdout, child.stderr) == (0, "lenet5.mnist.png: layer c1, 6 images\n", "")
    child = zoo_in_process("show", "linear", "--out", tmp_path / "new" / "x.png")
    assert child.returncode == 0 and child.stdout.endswith("x.png: layer scores, 10 images\n")
    assert len(child.stderr.splitlines()) == 1 and "linear has random weights" in child.stderr
    assert all(Image.open(path).size[0] > 500 for path in (tmp_path / "lenet5.mnist.png", tmp_path / "new" / "x.png"))
