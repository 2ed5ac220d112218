"""Files of PyTorch are read without PyTorch and without executing code in them."""

import io
import os
import pickle
import re
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from zoo import converters
from zoo.converters import torch as reader

torch = pytest.importorskip("torch", reason="the dev extra has it: pip install 'torch >= 2.6, < 2.14'")

NAMES = {"conv1": "features.0", "conv2": "features.3", "fc6": "classifier.1", "fc7": "classifier.4"}
FORMATS = pytest.mark.parametrize("archive", [True, False], ids=["archive", "pickles"])


def original(seed=2):
    """The net in PyTorch: (3, 12, 11) -> (7,), with groups, and maps of 4x3 before the flattening."""
    torch.manual_seed(seed)
    nn = torch.nn
    features = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Identity(), nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU()]
    classifier = [nn.Dropout(), nn.Linear(72, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 7)]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.pool = nn.Sequential(*features), nn.MaxPool2d(3, 2)
            self.classifier = nn.Sequential(*classifier)

        def forward(self, x):
            return self.classifier(torch.flatten(self.pool(self.features(x))[:, :, :, :3], 1))

    return Net().eval()


def net(classes=7):
    """The same net in Keras: (12, 11, 3) -> (classes,)."""
    x = image = keras.Input((12, 11, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(6, 3, groups=2, activation="relu", padding="same", name="conv2")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="pool")(x)  # 4x4x6
    x = keras.layers.Flatten(name="flatten")(keras.layers.Cropping2D(((0, 0), (0, 1)))(x))  # 4x3x6
    x = keras.layers.Dense(5, activation="relu", name="fc6")(keras.layers.Dropout(0.5)(x))
    return keras.Model(image, keras.layers.Dense(classes, name="fc7")(x), name="little")


def content(value, archive=True, **options):
    """Return the bytes that torch.save writes."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=archive, **options)
    return file.getvalue()


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes bytes to a .pth file, or saves an object with torch."""

    def write(value, archive=True, **options):
        path = tmp_path / "x.pth"
        path.write_bytes(value if isinstance(value, bytes) else content(value, archive, **options))
        return path

    return write


def refused(path, match, names=NAMES):
    with pytest.raises(zoo.ZooError, match=match) as caught:
        converters.convert(net(), path, names, "torch")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def same(path, state):
    """The arrays have the names, order and float32 values of PyTorch, bit by bit."""
    found = reader.read(path)
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].shape == tuple(tensor.shape)
        loaded = found[name].load()
        assert loaded.dtype == "float32"
        np.testing.assert_array_equal(loaded, tensor.detach().to(torch.float32).numpy())


# Reading.


@FORMATS
def test_reads_what_torch_wrote(saved, archive):
    state = original().state_dict()
    assert len(state) == 8
    same(saved(state, archive), state)


@FORMATS
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_reads_every_dtype(saved, archive, kind):
    state = {
        "a": torch.arange(-3, 9).reshape(3, 4).to(getattr(torch, kind)),
        "empty": torch.zeros(0, 3),
        "one": torch.tensor(2.0),
    }
    same(saved(state, archive), state)


@FORMATS
def test_reads_views(saved, archive):
    """Tensors with a shared storage, an offset, or other strides."""
    values = torch.arange(24.0)
    state = {
        "all": values,
        "turned": values.reshape(4, 6).T,
        "part": values.reshape(4, 6)[1:3, 2:5],
        "every other": values[1::2],
        "last": values[23:],
    }
    same(saved(state, archive), state)


@FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_every_protocol(saved, archive, protocol):
    state = original().state_dict()
    same(saved(state, archive, pickle_protocol=protocol), state)


@FORMATS
def test_reads_checkpoints(saved, archive):
    """Checkpoints with the state of an optimizer, with parameters, and of DataParallel."""
    built = original()
    optimizer = torch.optim.SGD(built.parameters(), lr=0.1, momentum=0.9)
    built(torch.zeros(1, 3, 12, 11)).sum().backward()
    optimizer.step()
    state = built.state_dict()
    checkpoint = {"epoch": 90, "best": 56.5, "arch": "alexnet", "state_dict": state, "optimizer": optimizer.state_dict()}
    same(saved(checkpoint, archive), state)
    same(saved({f"module.{name}": value for name, value in state.items()}, archive), state)
    same(saved(dict(built.named_parameters()), archive), state)


def test_reads_what_python_2_wrote(saved):
    """An OrderedDict as a list of pairs, with byte strings."""
    state = {"a.weight": torch.arange(6.0).reshape(2, 3)}
    whole = content(OrderedDict(state), archive=False)
    new = b"ccollections\nOrderedDict\nq\x00)Rq\x01X\x08\x00\x00\x00a.weightq\x02"
    assert whole.count(new) == 1 and whole.count(b"tq\x0cRq\rs.") == 1
    old = whole.replace(new, b"ccollections\nOrderedDict\nq\x00]]U\x08a.weightq\x02a")
    # The tensor becomes the second element of the pair, the pair the first of the list, the list the argument.
    old = old.replace(b"tq\x0cRq\rs.", b"tq\x0cRq\raa\x85R.")
    same(saved(old), state)


def test_values_are_loaded_on_demand(saved):
    state = {"big": torch.zeros(1024, 1024), "other": torch.ones(1024, 1024)}
    for archive in (True, False):
        path = saved(state, archive)
        tracemalloc.start()
        try:
            found = reader.read(path)
            assert tracemalloc.get_traced_memory()[1] < 2 * reader.LARGEST_PICKLE + 2**18  # the limit for pickles
            tracemalloc.reset_peak()
            assert found["other"].load().all()
            assert tracemalloc.get_traced_memory()[1] < 2**22 + 2**22  # the tensor, and chunks
        finally:
            tracemalloc.stop()


# Outputs.


@FORMATS
def test_computes_what_torch_computes(saved, archive):
    built, little = original(), net()
    converters.convert(little, saved(built.state_dict(), archive), NAMES, "torch")
    images = np.random.default_rng(4).normal(size=(3, 12, 11, 3)).astype("float32")
    with torch.no_grad():
        expected = built(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(little(images)), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(np.diff(expected, axis=0)).max() > 0.01


def test_classes_are_counted(saved):
    path = saved(original().state_dict())
    assert converters.read_head(path, NAMES, "torch") == (7, NAMES)


# Other files.


def test_file_of_another_net(saved):
    state = original().state_dict()
    without = {name: value for name, value in state.items() if not name.startswith("classifier.1")}
    refused(
        saved(without), "has no layer 'classifier.1', which little needs; did you mean 'classifier.4'.*features.0 4x3x3x3"
    )
    refused(saved({**state, "bn.weight": torch.ones(4)}), "layers that little lacks, bn; it belongs to another network")
    wrong = {**state, "features.3.weight": torch.ones(6, 4, 3, 3)}
    refused(saved(wrong), "layer features.3 of .* has 6x4x3x3 and 6, and little expects 6x2x3x3 and 6")
    refused(saved({**state, "features.3.running": torch.ones(6)}), "has 6x2x3x3 and 6 and 6, and little expects")


def test_values_that_are_not_finite(saved):
    state = original().state_dict()
    state["classifier.1.weight"][2, 3] = float("nan")
    refused(saved(state), "layer classifier.1 contains values that are not finite")


@pytest.mark.parametrize(
    "value, match",
    [
        ([torch.ones(2)], "contains no dict of tensors"),
        (torch.ones(2), "contains no dict of tensors"),
        ({"epoch": 3, "state": {"a": torch.ones(2)}}, "contains no tensors, only epoch, state"),
        ({}, "contains no tensors, only an empty dict"),
    ],
)
def test_file_without_a_state_dict(saved, value, match):
    for archive in (True, False):
        refused(saved(value, archive), match)


def test_file_of_a_whole_net(saved):
    """torch.save(model) pickles the class by its name, which needs the code of its author."""
    refused(saved(torch.nn.Linear(2, 3)), r"refers to torch\.nn\.modules\.linear\.Linear, which no state_dict needs")


def test_torchscript(tmp_path):
    path = tmp_path / "x.pth"
    torch.jit.script(torch.nn.Linear(2, 3)).save(str(path))
    refused(path, "is a TorchScript program; save model.state_dict")


@pytest.mark.parametrize(
    "start, match",
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "is an HDF5 file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is a PNG image"),
        (b"\x80\x02", "its pickle is damaged"),
        (pickle.dumps({"a": 1}, 2), "it is a pickle, but not one of torch.save"),
        (b"PK\x03\x04", "truncated: the archive has no end record"),
        (b"\x0a\x03net", "is not a .pth file of torch, but seems to be one of caffe"),
    ],
)
def test_other_file(saved, start, match):
    refused(saved(start), match)


def test_other_archive(saved):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/notes.txt", "nothing")
    refused(saved(file.getvalue()), "the archive has no data.pkl")


# Hostile files.


class Harm:
    """An object whose pickle calls a command that writes a file."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.system, (f"touch {self.place}",)


def archived(data, **entries):
    """Return a .pth archive with a given pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/data.pkl", data)
        for name, value in entries.items():
            archive.writestr(f"x/data/{name}", value)
    return file.getvalue()


def pickles(data, keys=b"\x80\x02].", values=b""):
    """Return a .pth file of the old format with a given pickle."""
    head = content({}, archive=False)
    start = head.index(pickle.dumps(1001, 2)) + len(pickle.dumps(1001, 2))
    end = start + head[start:].index(b".") + 1
    assert pickle.loads(head[start:end])["little_endian"]
    return head[:end] + data + keys + values


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [archived, pickles])
def test_nothing_is_executed(saved, tmp_path, protocol, wrap):
    """A pickle that would write a file when loaded is refused; the error names the call."""
    place = tmp_path / "executed"
    hostile = pickle.dumps({"a.weight": Harm(place)}, protocol)
    refused_for = (
        r"refers to (posix|nt)\.system" if protocol else "has the instruction DICT"
    )  # the first refused instruction
    refused(saved(wrap(hostile)), f"the pickle {refused_for}, which no state_dict needs")
    assert not place.exists()
    pickle.loads(hostile)
    assert place.exists()  # the pickle does write a file


@pytest.mark.parametrize(
    "program, match",
    [
        (b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.", r"refers to builtins\.eval"),
        (b"(X\x04\x00\x00\x00trueios\nsystem\n.", r"refers to os\.system"),
        (b"(S'true'\nios\nsystem\n.", "instruction STRING"),
        (b"\x8c\x02os\x8c\x06system\x93.", r"refers to os\.system"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", r"refers to torch\._utils\._rebuild_tensor_v2\.__globals__"),
        (b"\x82\x01.", "instruction EXT1"),
        (b"ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ"),
        (b"}(K\x01K\x02o.", "instruction OBJ"),
        (b"]}b.", "is inconsistent"),  # the state of a list
        (b"}]b.", "contains no tensors"),
        (b"r\xff\xff\xff\x7f.", "is inconsistent"),  # a memo index of 2**31 on an empty stack
        (b"}r\xff\xff\xff\x7f.", "contains no tensors"),
        (b"j\xff\xff\xff\x7f.", "is inconsistent"),
        (b"}}}s.", "is inconsistent"),
        (b"}))s.", "is inconsistent"),
        (b"R.", "is inconsistent"),
        (b"(.", "is inconsistent"),
        (b"t.", "is inconsistent"),
        (b"(a.", "is inconsistent"),
        (b"X\xff\xff\xff\x7fshort.", "its pickle is damaged"),
        (b"\x8d" + b"\xff" * 8 + b"short.", "its pickle is damaged"),
        (b"\x8b\xff\xff\xff\x7fshort.", "its pickle is damaged"),
        (b"I" + b"9" * 5000 + b"\n.", "its pickle is damaged"),
        (b"\x95" + b"\xff" * 8 + b"}.", "contains no tensors"),
        (b"}", "its pickle is damaged|is inconsistent"),
        (b"\xff.", "its pickle is damaged"),
        (b"(" * 100_000 + b"t" * 100_000 + b".", "contains no dict"),
        (b"}(" + b")" + b"\x85" * 100_000 + b"K\x01u.", "is inconsistent"),  # hashing this would crash the process
    ],
)
@pytest.mark.parametrize("wrap", [archived, pickles])
def test_programs_for_the_pickle_machine(saved, program, match, wrap):
    refused(saved(wrap(b"\x80\x02" + program)), match)


@pytest.mark.parametrize("wrap", [archived, pickles])
def test_long_list_referenced_often(saved, wrap):
    """24 KB with 8,000 references to the same list of 8,000 pairs are refused at the first one."""
    long = b"](" + b"N" * 8_000 + b"eq\x00"
    program = b"ccollections\nOrderedDict\n](" + long + b"h\x00" * 8_000 + b"e\x85R."
    start = time.perf_counter()
    refused(saved(wrap(b"\x80\x02" + program)), "is inconsistent")
    assert time.perf_counter() - start < 5


def tensor(kind="FloatStorage", key="0", count=4, offset=0, shape=(2, 2), strides=(2, 1)):
    """Return a pickle of {"a.weight": a tensor} with given, possibly wrong, facts."""

    def number(value):
        return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)

    def several(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"
    arguments = b"(" + storage + number(offset) + several(shape) + several(strides) + b"\x89}t"
    return b"\x80\x02}" + text("a.weight") + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."


def test_handmade_tensor(saved):
    values = np.arange(4, dtype="<f4")
    (found,) = reader.read(saved(archived(tensor(), **{"0": values.tobytes()}))).values()
    np.testing.assert_array_equal(found.load(), values.reshape(2, 2))
    keys = b"\x80\x02]X\x01\x00\x00\x000a."
    (found,) = reader.read(saved(pickles(tensor(), keys, struct.pack("<q", 4) + values.tobytes()))).values()
    np.testing.assert_array_equal(found.load(), values.reshape(2, 2))


def test_strides_of_axes_with_one_step(saved):
    """They have no meaning, however large they are."""
    values = np.arange(4, dtype="<f4")
    content = archived(tensor(shape=(1, 4), strides=(2**62, 1)), **{"0": values.tobytes()})
    np.testing.assert_array_equal(reader.read(saved(content))["a.weight"].load(), values[None])


@pytest.mark.parametrize(
    "about, match",
    [
        ({"offset": 1}, "a tensor of 2x2 reaches beyond its 4 values"),
        ({"strides": (3, 1)}, "reaches beyond"),
        ({"offset": -1}, "is inconsistent"),
        ({"strides": (-2, 1)}, "is inconsistent"),
        ({"shape": (2**40, 2**40), "strides": (0, 0)}, "a tensor of 1099511627776x1099511627776"),
        ({"shape": (2**20, 2**19), "strides": (0, 0)}, "a tensor of 1048576x524288 reaches beyond"),
        ({"shape": (2**62, 0), "strides": (1, 1)}, "a tensor of 4611686018427387904x0"),
        ({"shape": (2,), "strides": (2, 1)}, "is inconsistent"),
        ({"shape": (1,) * 40, "strides": (1,) * 40}, "is inconsistent"),
        ({"count": 2**31}, "16 bytes|16 are left"),
        ({"count": 2**62}, "16 bytes|16 are left"),
        ({"count": -4}, "is inconsistent"),
        ({"key": "1"}, "values 1|that belong to no tensor"),
        ({"key": "../data.pkl"}, r"values \.\./data\.pkl|that belong to no tensor"),
        ({"kind": "QInt8Storage"}, r"refers to torch\.QInt8Storage"),
        ({"kind": "DoubleStorage"}, "16 bytes|16 are left"),
    ],
)
def test_tensors_outside_of_their_storage(saved, about, match):
    """Sizes are checked against the storage, in both formats."""
    values = bytes(16)
    for data in (
        archived(tensor(**about), **{"0": values}),
        pickles(tensor(**about), b"\x80\x02]X\x01\x00\x00\x000a.", struct.pack("<q", about.get("count", 4)) + values),
    ):
        path = saved(data)
        tracemalloc.start()
        try:
            refused_small(path, match)
            assert tracemalloc.get_traced_memory()[1] < 2**24
        finally:
            tracemalloc.stop()


def refused_small(path, match):
    with pytest.raises(zoo.ZooError, match=match):
        reader.read(path)


def test_too_many_or_too_few_values(saved):
    """In the old format, the counts and keys before the values must be those of the tensors."""
    keys = b"\x80\x02]X\x01\x00\x00\x000a."
    refused(saved(pickles(tensor(), keys, struct.pack("<q", 5) + bytes(20))), "5 values .* for a tensor of 4")
    refused(saved(pickles(tensor(), keys, struct.pack("<q", 4) + bytes(15))), "truncated: 16 bytes of values")
    refused(saved(pickles(tensor(), b"\x80\x02].", b"")), "the values 0 are missing")
    refused(saved(pickles(tensor(), b"\x80\x02].", b"")[:-3]), "its pickle is damaged")


def test_compressed_archives_are_refused(saved):
    """They could unpack to a thousand times their size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(2**24))
    start = time.perf_counter()
    refused(saved(file.getvalue()), "data.pkl is compressed or encrypted, which PyTorch does not do")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/data.pkl", tensor(count=2**24, shape=(2**24,), strides=(1,)))
        archive.writestr("x/data/0", bytes(2**26), compress_type=zipfile.ZIP_DEFLATED)
    refused(saved(file.getvalue()), "data/0 is compressed")
    assert time.perf_counter() - start < 20


def test_too_large_pickle(saved):
    refused(saved(archived(b"\x80\x02" + b"}" * (reader.LARGEST_PICKLE + 1) + b".")), "more than 2,097,152 are refused")


@pytest.mark.parametrize("claimed", [2**20, 2**30, 2**31 - 1])
def test_sizes_that_an_archive_claims(saved, claimed):
    """An entry that claims to be large, packed and unpacked, in a file of a few hundred bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/data.pkl", tensor(count=claimed // 4, shape=(claimed // 4,), strides=(1,)))
        archive.writestr("x/data/0", bytes(16))
        for entry in archive.filelist[1:]:
            entry.file_size = entry.compress_size = claimed
    assert len(file.getvalue()) < 1000
    path = saved(file.getvalue())
    tracemalloc.start()
    try:
        refused_small(path, f"claims {claimed:,} bytes, more than the file has")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_too_large_directory(saved):
    """Its size is checked before zipfile reads it."""
    whole = bytearray(content({"a.weight": torch.ones(2)}))
    place = whole.rindex(b"PK\x05\x06") + 12
    whole[place : place + 4] = struct.pack("<I", 2**30)
    refused(saved(bytes(whole)), f"directory claims {2**30:,} bytes")


def test_wrong_checksum(saved):
    """A flipped bit in the values of an archive is found."""
    whole = content({"a.weight": torch.full((64,), 1.5)})
    place = whole.index(struct.pack("<f", 1.5) * 8)
    path = saved(whole[:place] + b"\x01" + whole[place + 1 :])
    found = reader.read(path)
    with pytest.raises(zoo.ZooError, match=r"is damaged at .*data/0: Bad CRC-32"):
        found["a.weight"].load()


# Damaged files.


def outcome(path):
    """Read all arrays of a file, or return None for a ZooError. Any other exception fails the test."""
    try:
        return {name: tensor.load() for name, tensor in reader.read(path).items()}
    except zoo.ZooError as error:
        assert str(path) in str(error)
        return None


@FORMATS
def test_truncated_anywhere(saved, archive):
    """A truncated file is refused."""
    whole = content({"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}, archive)
    assert outcome(saved(whole))
    for end in range(len(whole)):
        found = outcome(saved(whole[:end]))
        assert found is None or len(whole) - end < 22, end  # the archive's comment


@FORMATS
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes(saved, archive, flips):
    damaged = bytearray(content({"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}, archive))
    for place, change in flips:
        damaged[place % len(damaged)] ^= change
    outcome(saved(bytes(damaged)))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(b"()]}]|\x85\x86\x87NRtsuaebhq0K\x00\x01X.cQ\x89\x93\x94"), max_size=40), st.binary(max_size=30)
)
def test_any_program(saved, instructions, rest):
    """Any program gives a ZooError or some arrays."""
    outcome(saved(archived(b"\x80\x02" + bytes(instructions) + rest)))
    outcome(saved(pickles(bytes(instructions) + b".", rest)))


# The command.


@pytest.mark.slow("imports an AlexNet at full size")
def test_import_of_a_local_file(saved, tmp_path, zoo_in_process):
    """AlexNet of torchvision with two classes, with the preprocessing of the card's own weights."""
    names = zoo.card("alexnet-owt").imports["torch"]
    bare = zoo.build("alexnet-owt", classes=2)
    state = {}
    for own, foreign in names.items():
        *window, given_, made = bare.get_layer(own).kernel.shape
        state[f"{foreign}.weight"] = torch.zeros(made, given_, *window, dtype=torch.float16)
        state[f"{foreign}.bias"] = torch.full((made,), 0.25 if own == "fc8" else 0.0)
    done = zoo_in_process("import", saved(state), "--as", "alexnet-owt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 classes, from 0 to 1" in done.stdout and "next: zoo export x.keras" in done.stdout
    classifier = zoo.load(tmp_path / "x.keras")
    assert classifier.image_spec["crop_from"] == 256 and classifier.class_ids is None
    np.testing.assert_array_equal(classifier(np.zeros((1, 224, 224, 3), "uint8")), [[0.25, 0.25]])
    done = zoo_in_process("import", saved(state), "--as", "caffenet", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(
        "caffenet cannot be built from a file of torch, only from files of caffe; these can: alexnet-owt", done.stderr
    )
