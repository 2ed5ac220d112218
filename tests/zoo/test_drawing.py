"""What `zoo show` draws is what the layers hold."""

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from zoo import ZooError, drawing, registry, rules


def wrapped(*layers, shape=(28, 28, 1), classes=10, card="linear"):
    net = keras.Sequential([keras.Input(shape, name="image"), *layers], name="mine")
    about = zoo.card(card)
    picture = about.picture.model_copy(update=dict(zip(("height", "width", "channels"), shape, strict=True)))
    return registry.wrap(net, about.model_copy(update={"picture": picture}), range(classes))


def test_a_linear_classifier_is_a_template_a_class():
    classifier = zoo.load("linear.mnist")
    layer, found = drawing.learned(classifier)
    assert layer == "scores" and [title for title, _ in found] == list("0123456789")
    kernel = classifier.net.get_weights()[0]
    for number, (_, array) in enumerate(found):
        for row, column in ((0, 0), (3, 17), (27, 27)):
            assert array.shape == (28, 28) and array[row, column] == kernel[28 * row + column, number]


def test_a_hidden_layer_is_drawn_up_to_a_hundred_units():
    flatten, dense = keras.layers.Flatten(), keras.layers.Dense
    layer, found = drawing.learned(wrapped(flatten, dense(120, name="hidden"), dense(10)))
    assert layer == "hidden" and [title for title, _ in found] == [str(number) for number in range(1, 101)]


def test_units_are_named_after_classes_only_where_they_answer():
    flatten, dense = keras.layers.Flatten(), keras.layers.Dense
    _, found = drawing.learned(wrapped(flatten, dense(3, name="hidden"), dense(3), classes=3))
    assert [title for title, _ in found] == ["1", "2", "3"]
    _, found = drawing.learned(wrapped(flatten, dense(3, name="answer"), keras.layers.Softmax(), classes=3))
    assert [title for title, _ in found] == ["0", "1", "2"]


def test_what_a_response_unit_looks_for_is_drawn_through_the_plugboard():
    """A pixel's weight is the sum over its wires, one after the other."""
    classifier = zoo.load("mark1.letters")
    layer, found = drawing.learned(classifier)
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
    layer, found = drawing.learned(classifier)
    assert layer == "c1" and len(found) == 6
    np.testing.assert_array_equal(found[4][1], classifier.net.get_layer("c1").get_weights()[0][:, :, 0, 4])


def test_kernels_on_colours_keep_them_and_those_on_maps_come_by_pairs():
    tail = (keras.layers.Flatten(), keras.layers.Dense(10))
    convolution = keras.layers.Conv2D(4, 3)
    _, found = drawing.learned(wrapped(convolution, *tail, shape=(8, 8, 3)))
    np.testing.assert_array_equal(found[2][1], convolution.get_weights()[0][..., 2])
    masked = zoo.layers.MaskedConv2D([[1], [0, 1]], 3)
    expand = keras.layers.Concatenate()
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten()(masked(expand([image, image])))
    net = keras.Model(image, keras.layers.Dense(10)(x), name="mine")
    picture = zoo.card("linear").picture.model_copy(update={"height": 8, "width": 8})
    classifier = registry.wrap(net, zoo.card("linear").model_copy(update={"picture": picture}), range(10))
    _, found = drawing.learned(classifier)
    assert [title for title, _ in found] == ["1 to 1", "2 to 1", "1 to 2", "2 to 2"]
    kernel = masked.get_weights()[0]
    for (_, array), expected in zip(
        found, [0 * kernel[..., 0], kernel[..., 0], kernel[..., 1], kernel[..., 2]], strict=True
    ):
        np.testing.assert_array_equal(array, expected)


def test_memorised_pictures_are_drawn_as_they_came():
    net = zoo.build("nearest-neighbor", capacity=60)
    classifier = registry.wrap(net, zoo.card("nearest-neighbor"), range(10))
    generator = np.random.default_rng(0)
    pictures, labels = generator.integers(0, 256, (50, 28, 28, 1), "uint8"), np.arange(50) % 4
    with pytest.raises(ZooError, match="neighbors has learned nothing yet"):
        drawing.learned(classifier)
    rules.Memorise().learn(net, classifier.preprocessing(pictures), labels)
    _, found = drawing.learned(classifier)
    assert [title for title, _ in found] == [each for each in "0123" for _ in range(10)]
    np.testing.assert_array_equal(found[12][1], pictures[9, ..., 0])  # the third of class 1


def test_a_layer_is_asked_first():
    class Asked(keras.layers.Dense):
        def pictures(self):
            return [("mine", np.eye(3))]

    layer, found = drawing.learned(wrapped(keras.layers.Flatten(), Asked(10, name="asked")))
    assert layer == "asked" and found[0][0] == "mine"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((keras.layers.BatchNormalization(name="norm"), keras.layers.Flatten(), keras.layers.Dense(10)), r"norm \(Batch"),
        ((keras.layers.AveragePooling2D(2), keras.layers.Flatten(), keras.layers.Dense(10, name="d")), r"d \(Dense\)"),
        ((keras.layers.AveragePooling2D(14), keras.layers.Flatten(), keras.layers.Softmax()), "no layer with weights"),
    ],
)
def test_what_is_no_picture(layers, message):
    with pytest.raises(ZooError, match=message):
        drawing.learned(wrapped(*layers, classes=4 if "no layer" in message else 10))


def test_the_file_is_red_where_a_weight_is_positive_and_blue_where_it_is_negative(tmp_path):
    classifier = zoo.load("linear", classes=["a", "b"])
    kernel = np.zeros((28, 28, 2), "float32")
    kernel[..., 0], kernel[..., 1] = 1, -1
    classifier.net.set_weights([kernel.reshape(784, 2), np.zeros(2)])
    assert drawing.draw(classifier, tmp_path / "a.png") == ("scores", 2)
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"), "int32")
    left, right = (pixels[pixels.shape[0] // 2, pixels.shape[1] * quarter // 4] for quarter in (1, 3))
    assert left[0] > left[2] + 50 and right[2] > right[0] + 50
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_command(zoo_command, tmp_path):
    child = zoo_command("show", "lenet5.mnist", cwd=tmp_path)
    assert (child.returncode, child.stdout, child.stderr) == (0, "lenet5.mnist.png: layer c1, 6 pictures\n", "")
    child = zoo_command("show", "linear", "--out", tmp_path / "new" / "x.png")
    assert child.returncode == 0 and child.stdout.endswith("x.png: layer scores, 10 pictures\n")
    assert len(child.stderr.splitlines()) == 1 and "linear has random weights" in child.stderr
    assert all(Image.open(path).size[0] > 500 for path in (tmp_path / "lenet5.mnist.png", tmp_path / "new" / "x.png"))
