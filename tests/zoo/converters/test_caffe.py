"""Files of Caffe, written by Google's protobuf library, are read and give the outputs of Caffe."""

import hashlib
import re
import resource
import shutil
import time
import tracemalloc
from pathlib import Path

import keras
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from zoo import converters, initializers, registry, schema
from zoo.converters import caffe
from zoo.files import sha256
from zoo.layers import GroupedConv2D

NAMES = {"conv1": "conv1", "conv2": "conv2", "fc6": "fc6", "fc7": "fc7"}
GROUPS = {"conv1": 1, "conv2": 2}
SHAPES = {
    "conv1": [(4, 3, 3, 3), (4,)],
    "conv2": [(6, 2, 3, 3), (6,)],
    "fc6": [(5, 6 * 4 * 3), (5,)],  # after 6 maps of 4x3
    "fc7": [(7, 5), (7,)],
}

# Caffe's messages. Fields: name, number, type, repeated, packed.


FIELD = descriptor_pb2.FieldDescriptorProto


def messages(packed=True):
    """Return the protobuf classes of Caffe's messages, with packed or unpacked lists of values."""
    number = {"string": FIELD.TYPE_STRING, "int32": FIELD.TYPE_INT32, "int64": FIELD.TYPE_INT64}
    number |= {"float": FIELD.TYPE_FLOAT, "double": FIELD.TYPE_DOUBLE}
    described = {
        "BlobShape": [("dim", 1, "int64", True)],
        "BlobProto": [
            *((name, place, "int32", False) for place, name in enumerate(("num", "channels", "height", "width"), 1)),
            *[("data", 5, "float", True), ("diff", 6, "float", True)],
            *[("shape", 7, "BlobShape", False), ("double_data", 8, "double", True)],
        ],
        "V0LayerParameter": [("name", 1, "string", False), ("type", 2, "string", False), ("blobs", 50, "BlobProto", True)],
        "V1LayerParameter": [
            *[("layer", 1, "V0LayerParameter", False), ("bottom", 2, "string", True), ("name", 4, "string", False)],
            *[("type", 5, "int32", False), ("blobs", 6, "BlobProto", True), ("blobs_lr", 7, "float", True)],
        ],
        "LayerParameter": [
            *[("name", 1, "string", False), ("type", 2, "string", False), ("bottom", 3, "string", True)],
            ("blobs", 7, "BlobProto", True),
        ],
        "NetParameter": [
            *[("name", 1, "string", False), ("layers", 2, "V1LayerParameter", True), ("input", 3, "string", True)],
            ("layer", 100, "LayerParameter", True),
        ],
    }
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, fields in described.items():
        message = file.message_type.add(name=name)
        for field, place, kind, repeated in fields:
            made = message.field.add(name=field, number=place)
            made.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            if kind in number:
                made.type = number[kind]
                made.options.packed = packed and repeated and kind != "string"
            else:
                made.type, made.type_name = FIELD.TYPE_MESSAGE, f".caffe.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in described}


def arrays(shapes=None, seed=3):
    """Return random weights in Caffe's own layout: layer -> [weights, bias]."""
    rng = np.random.default_rng(seed)
    return {
        name: [rng.normal(size=shape).astype("float32") for shape in listed] for name, listed in (shapes or SHAPES).items()
    }


def content(weights, version=2, shape="new", data="data", packed=True, name="net"):
    """Return the bytes of a .caffemodel."""
    made = messages(packed)
    net = made["NetParameter"](name=name, input=["data"])
    for layer, listed in weights.items():
        added = net.layers.add(name=layer, type=4, blobs_lr=[1, 2]) if version == 1 else net.layer.add(name=layer, type="X")
        added.bottom.append("before")
        for array in listed:
            blob = added.blobs.add()
            if shape == "new":
                blob.shape.dim.extend(array.shape)
            else:
                blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
            getattr(blob, data).extend(array.ravel().tolist())
            blob.diff.extend([9.0] * 3)
    (net.layers if version == 1 else net.layer).add(name="relu1")
    return net.SerializeToString()


def net(classes=7):
    """A small net with the layers of AlexNet: (12, 11, 3) -> (classes,)."""
    x = image = keras.Input((12, 11, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(x)  # 10x9x4
    x = GroupedConv2D(6, 3, groups=2, activation="relu", padding="same", strides=1, name="conv2")(x)  # 10x9x6
    x = keras.layers.MaxPooling2D(3, 2, padding="valid", name="pool")(x)  # 4x4x6
    x = keras.layers.Cropping2D(((0, 0), (0, 1)), name="cut")(x)  # 4x3x6, so that rows and columns cannot be confused
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dropout(0.5, name="drop6")(x)
    x = keras.layers.Dense(5, activation="relu", name="fc6")(x)
    x = keras.layers.Dropout(0.5, name="drop7")(x)
    return keras.Model(image, keras.layers.Dense(classes, name="fc7")(x), name="little")


def forward(weights, blue_green_red):
    """Compute the net in Caffe's order, (channels, height, width) and BGR, with loops in float64."""
    x = np.asarray(blue_green_red, "float64")
    for name, border in (("conv1", 0), ("conv2", 1)):
        kernels, bias = (np.asarray(array, "float64") for array in weights[name])
        x = np.pad(x, ((0, 0), (border, border), (border, border)))
        made, each, high, wide = kernels.shape
        out = np.zeros((made, x.shape[1] - high + 1, x.shape[2] - wide + 1))
        for number in range(made):
            group = number // (made // GROUPS[name])
            seen = x[group * each : (group + 1) * each]
            for row in range(out.shape[1]):
                for column in range(out.shape[2]):
                    window = seen[:, row : row + high, column : column + wide]
                    out[number, row, column] = max(0.0, (window * kernels[number]).sum() + bias[number])
        x = out
    pooled = np.zeros((x.shape[0], 4, 3))
    for row in range(4):
        for column in range(3):
            pooled[:, row, column] = x[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].max(axis=(1, 2))
    flat = pooled.ravel()  # maps, rows, columns
    hidden = np.maximum(0.0, weights["fc6"][0].astype("float64") @ flat + weights["fc6"][1])
    return weights["fc7"][0].astype("float64") @ hidden + weights["fc7"][1]


@pytest.fixture
def model(tmp_path):
    """Return a function that writes a .caffemodel."""

    def write(weights=None, name="x.caffemodel", **how):
        path = tmp_path / name
        path.write_bytes(weights if isinstance(weights, bytes) else content(weights or arrays(), **how))
        return path

    return write


def refused(path, match, names=NAMES, **how):
    """The error is a ZooError of one line that names the file."""
    with pytest.raises(zoo.ZooError, match=match) as caught:
        converters.convert(net(), path, names, "caffe")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


# Reading.


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("shape", ["old", "new"])
@pytest.mark.parametrize("data, packed", [("data", True), ("data", False), ("double_data", True), ("double_data", False)])
def test_reads_what_protobuf_wrote(model, version, shape, data, packed):
    """All layers with weights are read bit by bit, in both formats of layers, shapes and lists."""
    weights = arrays()
    found = caffe.read(model(weights, version=version, shape=shape, data=data, packed=packed))
    assert list(found) == list(weights)  # relu1 has none
    for name, listed in weights.items():
        assert len(found[name]) == 2
        for blob, array in zip(found[name], listed, strict=True):
            assert blob.shape == (array.shape if shape == "new" else (1,) * (4 - array.ndim) + array.shape)
            loaded = blob.load()
            assert loaded.dtype == "float32" and loaded.shape == blob.shape
            np.testing.assert_array_equal(loaded.reshape(array.shape), array)


def test_values_in_several_lists(model):
    """Protobuf allows several lists, packed or not, which are joined in order. A concatenation of messages is a merge."""
    values = np.arange(6, dtype="float32")
    kinds = {True: messages(True), False: messages(False)}
    between = kinds[True]["BlobProto"](diff=[9.0]).SerializeToString()
    parts = []
    for packed, part in ((True, values[:1]), (False, values[1:3]), (False, values[3:4]), (True, values[4:])):
        parts += [kinds[packed]["BlobProto"](data=part.tolist()).SerializeToString(), between]
    shape = kinds[True]["BlobProto"](shape=kinds[True]["BlobShape"](dim=[2, 3])).SerializeToString()
    blob = kinds[True]["BlobProto"].FromString(b"".join([*parts, shape]))
    assert list(blob.data) == values.tolist()  # Google's library agrees
    layer = b"\x0a\x01a" + b"\x3a" + bytes([len(b"".join([*parts, shape]))]) + b"".join([*parts, shape])
    (found,) = caffe.read(model(b"\xa2\x06" + bytes([len(layer)]) + layer))["a"]
    np.testing.assert_array_equal(found.load(), values.reshape(2, 3))


def test_layers_before_2014(model):
    made = messages()
    old = made["NetParameter"]()
    old.layers.add().layer.MergeFrom(made["V0LayerParameter"](name="conv1", type="conv"))
    path = model(old.SerializeToString())
    refused(path, f"upgrade_net_proto_binary {re.escape(str(path))} NEW.caffemodel")


def test_values_are_loaded_on_demand(model):
    """Reading the layers of a file of 8 MB takes a hundredth of its size in memory; loading a blob takes that blob."""
    weights = {"big": [np.zeros((1024, 1024), "float32")], "other": [np.ones((1024, 1024), "float32")]}
    path = model(weights)
    tracemalloc.start()
    try:
        found = caffe.read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**17
        assert found["other"][0].load().all()
        assert (
            tracemalloc.get_traced_memory()[1] < 2**22 + 2**23 + 2**18
        )  # the blob, and a chunk of at most a million values
    finally:
        tracemalloc.stop()


# Outputs.


@pytest.mark.parametrize("version, shape", [(1, "old"), (2, "new")])
def test_computes_what_caffe_computes(model, version, shape):
    """A Keras net of RGB images, channels last, gives the outputs of Caffe's net of BGR images, channels first."""
    weights = arrays()
    little = net()
    converters.convert(little, model(weights, version=version, shape=shape), NAMES, "caffe")
    images = np.random.default_rng(4).normal(size=(3, 12, 11, 3)).astype("float32")
    expected = [forward(weights, image[:, :, ::-1].transpose(2, 0, 1)) for image in images]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(little(images)), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(np.diff(expected, axis=0)).max() > 0.1  # the outputs differ between images


def test_values_are_kept_to_the_bit(model):
    weights, little = arrays(), net()
    converters.convert(little, model(weights), NAMES, "caffe")
    first, second, dense = (little.get_layer(name).kernel.numpy() for name in ("conv1", "conv2", "fc6"))
    np.testing.assert_array_equal(first[:, :, ::-1].transpose(3, 2, 0, 1), weights["conv1"][0])
    np.testing.assert_array_equal(second.transpose(3, 2, 0, 1), weights["conv2"][0])  # only the first layer takes colors
    np.testing.assert_array_equal(dense.reshape(4, 3, 6, 5).transpose(3, 2, 0, 1).reshape(5, -1), weights["fc6"][0])
    np.testing.assert_array_equal(little.get_layer("fc7").kernel.numpy().T, weights["fc7"][0])
    for name, (_, bias) in weights.items():
        np.testing.assert_array_equal(little.get_layer(name).bias.numpy(), bias)


def test_gray_images_have_no_channels_to_reverse(model):
    """The net of Caffe's MNIST example has one channel."""
    image = keras.Input((5, 5, 1))
    gray = keras.Model(image, keras.layers.Dense(2, name="ip1")(keras.layers.Flatten()(image)))
    weights = arrays({"ip1": [(2, 25), (2,)]})
    converters.convert(gray, model(weights), {"ip1": "ip1"}, "caffe")
    np.testing.assert_array_equal(gray.get_layer("ip1").kernel.numpy().T, weights["ip1"][0])


def test_dense_layer_on_an_rgb_image(model):
    """If the first layer is dense, its rows are reversed."""
    image = keras.Input((2, 4, 3))
    linear = keras.Model(image, keras.layers.Dense(5, name="ip")(keras.layers.Flatten()(image)))
    weights = arrays({"ip": [(5, 24), (5,)]})
    converters.convert(linear, model(weights), {"ip": "ip"}, "caffe")
    image = np.random.default_rng(5).normal(size=(1, 2, 4, 3)).astype("float32")
    expected = weights["ip"][0] @ image[0, :, :, ::-1].transpose(2, 0, 1).ravel() + weights["ip"][1]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(linear(image))[0], expected, rtol=1e-4, atol=1e-5)


# Other files.


def test_file_of_another_net(model):
    missing = arrays({name: shapes for name, shapes in SHAPES.items() if name != "fc6"} | {"fc6_new": SHAPES["fc6"]})
    message = refused(
        model(missing), "has no layer 'fc6', which little needs; did you mean .*'fc6_new'.*Its layers: conv1 4x3x3x3"
    )
    assert "fc7 7x5" in message
    refused(model(arrays(SHAPES | {"conv9": [(4, 4)]})), "layers that little lacks, conv9; it belongs to another network")
    wide = SHAPES | {"conv2": [(6, 4, 3, 3), (6,)]}
    refused(model(arrays(wide)), "layer conv2 of .* has 6x4x3x3 and 6, and little expects 6x2x3x3 and 6")
    refused(model(arrays(SHAPES | {"fc7": [(7, 5)]})), "layer fc7 of .* has 7x5, and little expects 7x5 and 7")
    refused(model(arrays(SHAPES | {"fc7": [(5, 7), (7,)]})), "has 5x7 and 7, and little expects 7x5 and 7")


def test_nothing_is_set_before_all_shapes_are_right(model):
    little = net()
    before = [value.copy() for value in little.get_weights()]
    with pytest.raises(zoo.ZooError, match="layer fc7"):
        converters.convert(little, model(arrays(SHAPES | {"fc7": [(8, 5), (8,)]})), NAMES, "caffe")
    assert all(map(np.array_equal, before, little.get_weights()))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite(model, value):
    weights = {name: [array.astype("float64") for array in listed] for name, listed in arrays().items()}
    weights["conv2"][0][5, 1, 2, 2] = value
    refused(model(weights, data="double_data"), "layer conv2 contains values that are not finite")


def test_card_and_net_that_differ(model):
    refused_names = {name: name for name in ("conv1", "conv2", "fc6", "fc8")}
    with pytest.raises(zoo.ZooError, match=r"little and its \[imports.caffe\] differ in the layers fc7, fc8"):
        converters.convert(net(), model(), refused_names, "caffe")


@pytest.mark.parametrize(
    "start, match",
    [
        (b"", "is empty; download it again"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "is an HDF5 file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is a PNG image"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b'name: "CaffeNet"\nlayer {', "is neither a file of"),
        (b"\x0a\x03net", "has no layer with weights"),
        (b"PK\x03\x04", "is not a .caffemodel file of caffe, but seems to be one of torch"),
    ],
)
def test_other_file(model, start, match):
    refused(model(start), match)


def test_no_file(tmp_path):
    refused(tmp_path / "none.caffemodel", "no file")
    (tmp_path / "folder.caffemodel").mkdir()
    refused(tmp_path / "folder.caffemodel", "no file")


# Damaged and hostile files.


def small(**how):
    return content({"a": [np.arange(6, dtype="float32").reshape(2, 3)], "b": [np.ones(4, "float32")]}, **how)


def outcome(path):
    """Read all arrays of a file, or return None for a ZooError. Any other exception fails the test."""
    try:
        found = caffe.read(path)
        return {name: [blob.load() for blob in blobs] for name, blobs in found.items()}
    except zoo.ZooError as error:
        assert str(path) in str(error)
        return None


@pytest.mark.parametrize("version, shape", [(1, "old"), (2, "new")])
def test_truncated_anywhere(model, version, shape):
    """A truncated file is refused or consists of complete layers."""
    whole = small(version=version, shape=shape)
    full = outcome(model(whole))
    ends = [outcome(model(whole[:end])) for end in range(len(whole))]
    assert None in ends and any(ends)
    for found in filter(None, ends):
        for name, listed in found.items():
            np.testing.assert_array_equal(listed[0], full[name][0])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4), old=st.booleans())
def test_flipped_bytes(model, flips, old):
    """Any change gives a ZooError or some arrays."""
    damaged = bytearray(small(version=1, shape="old") if old else small(packed=False))
    for place, change in flips:
        damaged[place % len(damaged)] ^= change
    outcome(model(bytes(damaged)))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes(model, anything):
    outcome(model(anything))
    outcome(model(b"\xa2\x06\x7f" + anything))


def varint(value):
    """Encode a number as protobuf does."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def nested(*tags, inner):
    """Wrap bytes into nested messages."""
    for tag in reversed(tags):
        inner = tag + varint(len(inner)) + inner
    return inner


LAYER, BLOB = b"\xa2\x06", b"\x3a"


@pytest.mark.parametrize(
    "hostile, match",
    [
        (LAYER + varint(2**31), f"a field of {2**31:,} bytes"),
        (nested(LAYER, inner=BLOB + varint(2**31)), f"a field of {2**31:,} bytes"),
        (nested(LAYER, BLOB, inner=b"\x2a" + varint(2**31) + bytes(8)), f"a field of {2**31:,} bytes"),
        (
            nested(LAYER, BLOB, inner=b"\x2a\x04" + bytes(4) + b"\x3a\x07\x0a\x05" + varint(2**31)),
            "1 values for a shape of 2147",
        ),
        (nested(LAYER, BLOB, inner=b"\x2a\x03abc"), "3 bytes of values of 4 bytes"),
        (nested(LAYER, BLOB, inner=b"\x28\x01"), "values of wire type 0"),
        (nested(LAYER, inner=b"\x0a" + varint(2000) + bytes(2000)), "a layer's name of 2,000 bytes"),
        (nested(LAYER, BLOB, b"\x3a", inner=b"\x0a\x64" + b"\x01" * 100), "a shape of more than 32 axes"),
        (nested(LAYER, BLOB, inner=b"\x08" + b"\xff" * 9 + b"\x01"), "0 values for a shape of 18446744073709551615x0x0x0"),
        (b"\x0b" + bytes(20), "is neither a file of"),
        (b"\x0a\x01a\x0b" + bytes(20), "unknown wire type 3"),
        (b"\x0a" + b"\xff" * 11, "a number without an end"),
        (nested(LAYER, inner=b"\x0a\x01a" + b"\x3a\x00" * 20_000), "more than 16,384 arrays"),
    ],
)
def test_hostile_file(model, hostile, match):
    """It is refused without allocating the memory that it claims."""
    path = model(hostile)
    keras.Input((1,))  # so that the measured code imports nothing
    start = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(zoo.ZooError, match=match):
            converters.read_head(path, NAMES, "caffe")
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 20


def test_file_that_shrinks_while_it_is_read(model):
    path = model()
    found = caffe.read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(zoo.ZooError, match="was changed while it was read"):
        found["fc7"][0].load()


LENET = {
    "conv1": [(20, 1, 5, 5), (20,)],
    "conv2": [(50, 20, 5, 5), (50,)],
    "ip1": [(500, 800), (500,)],
    "ip2": [(10, 500), (10,)],
}


@pytest.fixture
def lenet(model):
    return model(arrays(LENET), name="lenet_iter_10000.caffemodel")


# The weight store.


def test_published_weights_by_name(lenet, tmp_path, monkeypatch):
    """A file at the path in the message is converted once. Later loads read the converted file."""
    card = zoo.card("lenet-caffe")
    published = schema.Weights(
        url="http://127.0.0.1:9/lenet_iter_10000.caffemodel",
        format="caffe",
        sha1=hashlib.sha1(lenet.read_bytes()).hexdigest(),
        largest=10**7,
        licence="none",
        classes=tuple("0123456789"),
        published=[{"result": "error", "value": 1.0, "dataset": "MNIST", "source": "nobody"}],
    )
    monkeypatch.setattr(registry, "card", lambda name: card.model_copy(update={"weights": {"published": published}}))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(zoo.ZooError, match="ZOO_OFFLINE") as caught:
        zoo.load("lenet-caffe.published")
    place = Path(str(caught.value).rpartition(" at ")[2].strip("'."))
    assert place.parent.parent == tmp_path / "cache"
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(lenet, place)
    expected = zoo.build("lenet-caffe")
    converters.convert(expected, lenet, card.imports["caffe"], "caffe")
    for _ in range(2):
        classifier = zoo.load("lenet-caffe.published")
        for ours, theirs in zip(classifier.net.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert classifier.weights_name == "lenet-caffe.published"
        place.unlink(missing_ok=True)
    with initializers.starting_from_zero():
        blank = zoo.build("lenet-caffe")
    assert not any(value.any() for value in blank.get_weights())
    assert zoo.build("lenet-caffe").get_weights()[0].any()


# The command.


def test_import_of_a_local_file(lenet, tmp_path, zoo_in_process):
    """The classifier gives the outputs of the net in the file, and the next command is printed."""
    done = zoo_in_process("import", lenet, "--as", "lenet-caffe", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LeNet of Caffe, 10 classes, from 0 to 9" in done.stdout
    assert "next: zoo export lenet_iter_10000.keras --to onnx --out lenet_iter_10000.onnx" in done.stdout
    following = done.stdout.splitlines()[-1].removeprefix("next: zoo ").split()
    assert zoo_in_process(*following, cwd=tmp_path).returncode == 0
    classifier = zoo.load(tmp_path / "lenet_iter_10000.keras")
    assert classifier.card == "lenet-caffe" and classifier.weights_name is None and classifier.class_ids is None
    bare = zoo.build("lenet-caffe")
    converters.convert(bare, lenet, zoo.card("lenet-caffe").imports["caffe"], "caffe")
    images = np.random.default_rng(6).integers(0, 256, (2, 28, 28, 1)).astype("float32")
    np.testing.assert_allclose(
        classifier(images), bare(images * zoo.card("lenet-caffe").preprocessing.scale), rtol=1e-4, atol=1e-5
    )


def test_import_of_a_fine_tuned_file(model, tmp_path, zoo_in_process):
    """Another number of classes and another name of the last layer, as in Caffe's tutorial."""
    shapes = {name: shapes for name, shapes in LENET.items() if name != "ip2"} | {"ip2_mine": [(3, 500), (3,)]}
    path = model(arrays(shapes), name="mine.caffemodel")
    (tmp_path / "names.txt").write_text("cat\n\ndog\nfrog\n")
    out = tmp_path / "new" / "pets.keras"
    done = zoo_in_process("import", path, "--as", "lenet-caffe", "--out", out, "--classes", tmp_path / "names.txt")
    assert done.returncode == 0, done.stderr
    assert zoo.load(out).class_names == ["cat", "dog", "frog"]
    for lines, problem in (
        ("cat\ndog", "has 2 class names, but the network has 3 classes"),
        ("cat\ncat\ndog", "'cat' more than once"),
    ):
        (tmp_path / "names.txt").write_text(lines)
        done = zoo_in_process("import", path, "--as", "lenet-caffe", "--out", out, "--classes", tmp_path / "names.txt")
        assert done.returncode == 2 and problem in done.stderr
    before = sha256(out)
    done = zoo_in_process("import", path, "--as", "lenet-caffe", "--out", out, "--classes", tmp_path / "none.txt")
    assert done.returncode == 2 and "none.txt cannot be read" in done.stderr and sha256(out) == before


@pytest.mark.parametrize(
    "words, message",
    [
        (["--as", "lenet-cafe"], "no model 'lenet-cafe'; did you mean 'lenet-caffe'"),
        (["--as", "lenet5"], "lenet5 cannot be built from a file of caffe; these can: .*lenet-caffe"),
        (["--as", "lenet-caffe", "--out", "x.h5"], "--out must be a .keras file, not x.h5"),
        (["--as", "lenet5.mnist"], "--as takes an architecture, not weights; did you mean 'lenet5'?"),
    ],
)
def test_refused_import(lenet, words, message, tmp_path, zoo_in_process):
    done = zoo_in_process("import", lenet, *words, cwd=tmp_path)
    assert done.returncode == 2 and re.search(message, done.stderr), done.stderr
    assert not list(tmp_path.glob("*.keras"))


@pytest.mark.parametrize("classes", [2_000_000])
def test_import_of_a_file_that_claims_many_classes(model, classes, tmp_path, zoo_command):
    """8 MB of values for an output layer with one input. The net with so many classes would take 4 GB."""
    shapes = {name: [(1,) * len(LENET[name][0]), (1,)] for name in LENET} | {"ip2": [(classes, 1), (classes,)]}
    weights = {name: [np.zeros(shape, "float32") for shape in listed] for name, listed in shapes.items()}
    done = zoo_command("import", model(weights), "--as", "lenet-caffe", "--out", tmp_path / "x.keras", preexec_fn=_small)
    assert done.returncode == 2 and "belongs to another network" in done.stderr and "Traceback" not in done.stderr


def _small():
    """Limit a process to 8 GB of memory, most of which TensorFlow reserves without using it."""
    resource.setrlimit(resource.RLIMIT_DATA, (8 * 2**30, 8 * 2**30))


def test_import_of_a_missing_file(tmp_path, zoo_in_process):
    done = zoo_in_process("import", tmp_path / "none.caffemodel", "--as", "lenet-caffe")
    assert done.returncode == 2 and "no file" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", [name for name in zoo.list_models() if registry.card(name).imports])
def test_card_names_the_layers_of_its_net(name):
    """It names each layer with weights, in the order of the net."""
    for names in zoo.card(name).imports.values():
        assert list(names) == [layer.name for layer in zoo.build(name, classes=3).layers if layer.weights]
        assert len(set(names.values())) == len(names)
