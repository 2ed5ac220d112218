"""The weight store against a local HTTP server."""

import hashlib
import http.server
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from importlib import resources
from pathlib import Path

import pytest

import zoo
from zoo import registry, schema
from zoo import weights as store
from zoo.schema import Measured, Published, Weights

CONTENT = os.urandom(3 * 2**20 + 17)  # more than three chunks


class Server(http.server.ThreadingHTTPServer):
    """Counts its answers and records the requested ranges. The path of a URL selects how it misbehaves."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answered, self.ranges, self.sent = 0, [], 0
        self.content = CONTENT
        self.both = threading.Barrier(2, timeout=60)
        self.pieces, self.left = 0, threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, behavior="good"):
        return f"http://127.0.0.1:{self.server_port}/{behavior}/weights.h5"

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.answered += 1
        self.server.ranges.append(self.headers.get("Range"))
        behavior = self.path.split("/")[1]
        content = self.server.content
        content = {"flipped": b"\0" + content[1:], "longer": content + b"\0", "shorter": content[:-1]}.get(behavior, content)
        if behavior == "missing":
            return self.send_error(404)
        if behavior == "together":
            self.server.both.wait()  # no client gets a byte before the test allows it
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if start and behavior not in ("no-ranges", "cut-chunks", "endless"):
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            sent = start + 5 if behavior == "other-part" else start
            self.send_header("Content-Range", f"bytes {sent}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        else:
            self.send_response(200)
        if behavior == "cut-chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.wfile.write(b"100000\r\n" + content[:1000])
        if behavior == "endless":
            self.end_headers()
            return self.send_without_end()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        content = content[: len(content) // 2] if behavior == "cut" else content
        self.server.sent += len(content)
        self.wfile.write(content)

    def send_without_end(self):
        try:
            while self.server.pieces < 256:  # or nearly so
                self.wfile.write(bytes(2**20))
                self.server.pieces += 1
        except ConnectionError:
            self.server.left.set()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("ZOO_CACHE", str(folder))
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    return folder


def weights(**source):
    measured = Measured(
        **{"result": "test error", "values": (1.0,), "dataset": "mnist", "recipe": "none", "seeds": (1,)},
        **{"device": "none", "date": "2026-01-01", "command": "none"},
    )
    given = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT), **source}
    return Weights(licence="none", classes=("a", "b"), recipe="none", measured=(measured,), **given)


def find(**source):
    return store.find("net.tag", weights(**source), show_progress=False)


def files(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def test_fetched_once(server, cache):
    """The second call uses the cache, without a server."""
    path = find(url=server.url())
    assert path.read_bytes() == CONTENT and path.suffix == ".h5"
    assert files(cache) == [path]
    url = server.url()
    server.stop()
    assert find(url=url) == path
    assert server.answered == 1


def test_other_content_has_another_name(server, cache):
    """New weights under an old name are downloaded, not taken from the cache."""
    old = find(url=server.url())
    flipped = hashlib.sha256(b"\0" + CONTENT[1:]).hexdigest()
    new = find(url=server.url("flipped"), sha256=flipped)
    assert sorted(files(cache)) == sorted([old, new])


@pytest.mark.parametrize(
    "behavior, message",
    [
        ("flipped", "whose sha256 is not that of the card"),
        ("longer", f"more than the {len(CONTENT):,} bytes"),
        ("shorter", f"sends {len(CONTENT) - 1:,} bytes, but the card states {len(CONTENT):,}; nothing was saved"),
        ("missing", "could not be downloaded.*Not Found"),
    ],
)
def test_bad_answer_leaves_nothing(server, cache, behavior, message):
    with pytest.raises(zoo.ZooError, match=message) as caught:
        find(url=server.url(behavior))
    assert server.url(behavior) in str(caught.value)
    assert files(cache) == []
    assert find(url=server.url()).read_bytes() == CONTENT


def test_answer_without_end(server, cache):
    """The store closes the connection after the number of bytes in the card, so that it cannot fill the disk."""
    with pytest.raises(zoo.ZooError, match=f"more than the {len(CONTENT):,} bytes"):
        find(url=server.url("endless"))
    assert files(cache) == []
    assert server.left.wait(60) and server.pieces < 64


def test_server_that_does_not_answer(server, cache):
    url = server.url()
    server.stop()
    with pytest.raises(zoo.ZooError, match="could not be downloaded") as caught:
        find(url=url)
    place = str(caught.value).rsplit(" ", 1)[-1]
    assert url in str(caught.value) and files(cache) == []
    Path(place).write_bytes(CONTENT)  # the path for a file that was downloaded by other means
    assert find(url=url).read_bytes() == CONTENT


def test_offline(server, cache, monkeypatch):
    """No request is sent. A file at the path in the message is used."""
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(zoo.ZooError, match="ZOO_OFFLINE") as caught:
        find(url=server.url())
    assert server.answered == 0 and not cache.exists()
    place = Path(str(caught.value).rsplit(" at ", 1)[-1])
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert find(url=server.url()) == place


def test_damaged_in_the_cache(server):
    """A damaged file is refused, neither used nor downloaded again. The command in the message fixes it."""
    path = find(url=server.url())
    for damaged in (CONTENT[:-1], CONTENT + b"\0", bytes([CONTENT[0] ^ 1]) + CONTENT[1:], b""):
        path.write_bytes(damaged)
        with pytest.raises(zoo.ZooError, match="damaged") as caught:
            find(url=server.url())
        assert path.read_bytes() == damaged and server.answered == 1
    subprocess.run(str(caught.value).split("fix: ")[1], shell=True, check=True)
    assert find(url=server.url()).read_bytes() == CONTENT


FIND = """
import os, sys, rich.progress, platformdirs
from zoo import weights, schema
if sys.argv[2] == "unprivileged" and os.geteuid() == 0:
    os.setgroups([]); os.setegid(65534); os.seteuid(65534)
try:
    print(weights.find("net.tag", schema.Weights.model_validate_json(sys.argv[1])))
except schema.ZooError as error:
    sys.exit(f"refused: {error}")
"""


def find_elsewhere(weights, how="", **options):
    """Start a process that calls `find`."""
    command = [sys.executable, "-c", FIND, weights.model_dump_json(), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_two_processes_at_once(server, cache):
    """The second process prints that it waits for the first. Both get the file, which is downloaded once."""
    children = [find_elsewhere(weights(url=server.url("together"))) for _ in range(2)]
    while True:  # until one process has sent its request and the other one waits
        waiting = [child for child in children if select.select([child.stderr], [], [], 0.05)[0]]
        if waiting:
            break
    assert "waiting for another process that downloads net.tag" in waiting[0].stderr.readline()
    server.both.wait()
    ends = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], ends
    assert server.answered == 1
    (path,) = files(cache)
    assert path.read_bytes() == CONTENT
    assert [out for out, _ in ends] == [f"{path}\n"] * 2  # the progress bar is not on the standard output


def test_read_only_cache(server, open_folder):
    """A read-only cache with the file works. Without the file, the message names ZOO_CACHE."""
    environment = {**os.environ, "ZOO_CACHE": str(open_folder)}
    there = weights(url=server.url())
    assert find_elsewhere(there, env=environment).wait(60) == 0
    for folder in (open_folder / "weights", open_folder):
        folder.chmod(0o555)
    child = find_elsewhere(there, "unprivileged", env=environment)
    out, problem = child.communicate(timeout=60)
    assert child.returncode == 0 and Path(out.strip()).read_bytes() == CONTENT, problem
    child = find_elsewhere(weights(url=server.url(), sha256="0" * 64), "unprivileged", env=environment)
    _, problem = child.communicate(timeout=60)
    assert child.returncode == 1 and "refused" in problem and "set ZOO_CACHE" in problem
    assert len(files(open_folder)) == 1


def test_packaged_file(tmp_path, cache, monkeypatch):
    """The file is checked at every use. A wrong file is refused, with the command that fixes it."""
    monkeypatch.setattr(resources, "files", lambda package: tmp_path / package)
    path = tmp_path / "zoo" / "pretrained" / "packaged.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert find(file=path.name) == path and not cache.exists()
    for damaged in (bytes([CONTENT[0] ^ 1]) + CONTENT[1:], CONTENT[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(zoo.ZooError, match=r"damaged.*fix: python -m pip install"):
            find(file=path.name)
    path.unlink()
    with pytest.raises(zoo.ZooError, match=r"missing.*fix: python -m pip install"):
        find(file=path.name)


@pytest.mark.parametrize("name", zoo.list_models(pretrained=True))
def test_flipped_bit_in_packaged_weights(name, tmp_path):
    """A flipped bit in a copy of the packaged file is found."""
    about = zoo.card(name).weights[name.partition(".")[2]]
    if about.file is None:
        pytest.skip(f"{name} is not packaged")
    content = bytearray(resources.files("zoo.pretrained").joinpath(about.file).read_bytes())
    copy = tmp_path / about.file
    copy.write_bytes(content)
    doctored = about.model_copy(update={"file": str(copy)})
    assert store.find(name, doctored) == copy
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    with pytest.raises(zoo.ZooError, match="damaged"):
        store.find(name, doctored)


# Interrupted downloads are resumed.


def part(cache):
    (path,) = files(cache)
    assert path.name.startswith(".part-net.tag-")
    return path


@pytest.mark.parametrize("behavior, kept", [("cut", len(CONTENT) // 2), ("cut-chunks", 1000)])
def test_resumed_after_a_lost_connection(server, cache, behavior, kept):
    """The next call requests only the missing bytes; no byte is sent twice."""
    with pytest.raises(
        zoo.ZooError, match=f"could not be downloaded.* {kept:,} bytes are saved: run the same command again"
    ):
        find(url=server.url(behavior))
    assert part(cache).read_bytes() == CONTENT[:kept]
    server.sent = kept
    path = find(url=server.url())
    assert path.read_bytes() == CONTENT and files(cache) == [path]
    assert server.ranges == [None, f"bytes={kept}-"] and server.sent == len(CONTENT)


def test_lost_again_and_again(server, cache):
    """Half of the missing bytes arrive each time."""
    left = len(CONTENT)
    for _ in range(5):
        with pytest.raises(zoo.ZooError, match="are saved"):
            find(url=server.url("cut"))
        left -= left // 2
        assert part(cache).stat().st_size == len(CONTENT) - left
    assert find(url=server.url()).read_bytes() == CONTENT and server.sent == len(CONTENT)


def test_server_without_ranges(server, cache):
    """It sends the whole file again, which replaces the saved bytes."""
    with pytest.raises(zoo.ZooError):
        find(url=server.url("cut"))
    part(cache).write_bytes(b"\1" * 1000)
    assert find(url=server.url("no-ranges")).read_bytes() == CONTENT
    assert server.ranges[1] == "bytes=1000-"


def test_server_that_sends_another_range(server, cache):
    with pytest.raises(zoo.ZooError):
        find(url=server.url("cut"))
    with pytest.raises(
        zoo.ZooError, match=f"sends another range than the one from byte {len(CONTENT) // 2:,}; nothing was saved"
    ):
        find(url=server.url("other-part"))
    assert files(cache) == []


@pytest.mark.parametrize("kept", [b"\0" * 10, b"\0" * len(CONTENT), b"\0" * (len(CONTENT) + 5)], ids=["part", "all", "more"])
def test_saved_bytes_of_another_file(server, cache, kept):
    """The hash of the whole file finds them, and they are not resumed again."""
    with pytest.raises(zoo.ZooError):
        find(url=server.url("cut"))
    part(cache).write_bytes(kept)
    if len(kept) <= len(CONTENT):
        with pytest.raises(zoo.ZooError, match="whose sha256 is not that of the card; nothing was saved"):
            find(url=server.url())
        assert files(cache) == []
    assert find(url=server.url()).read_bytes() == CONTENT


SLOWLY = """
import http.client, time
read = http.client.HTTPResponse.read1
http.client.HTTPResponse.read1 = lambda answer, size: time.sleep(0.2) or read(answer, 1000)
"""


def test_killed_during_a_download(server, cache):
    """The next process resumes the saved bytes and does not wait for the lock of the killed one."""
    whole = weights(url=server.url())
    child = subprocess.Popen(
        [sys.executable, "-c", SLOWLY + FIND, whole.model_dump_json(), ""],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not any(path.stat().st_size for path in files(cache)):
        time.sleep(0.02)
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = part(cache).stat().st_size
    assert kept
    assert find(url=server.url()).read_bytes() == CONTENT and server.ranges[-1] == f"bytes={kept}-"


# Foreign files, which are converted.


def foreign(**source):
    """Weights of a foreign format, without a published size."""
    result = Published(result="accuracy", value=57.0, dataset="imagenet", source="somebody")
    given = {"sha1": hashlib.sha1(CONTENT).hexdigest(), "largest": len(CONTENT) + 1000, "format": "caffe", **source}
    return Weights(licence="none", classes=("a", "b"), published=(result,), **given)


class Convert:
    """A converter whose output depends on its input. It counts its calls."""

    def __init__(self):
        self.calls, self.error = [], None

    def __call__(self, file, path):
        self.calls.append(file)
        assert Path(file).read_bytes() == CONTENT
        if self.error:
            raise self.error
        path.write_bytes(b"converted " + CONTENT[:100])


def find_foreign(convert, **source):
    return store.find("net.tag", foreign(**source), show_progress=False, convert=convert)


def test_foreign_file_is_downloaded_and_converted_once(server, cache):
    convert = Convert()
    path = find_foreign(convert, url=server.url())
    assert path.read_bytes() == b"converted " + CONTENT[:100] and path.name.endswith(".v1.h5")
    seal = path.with_name(f"{path.name}.sha256")
    assert seal.read_text() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(files(cache)) == [path, seal]  # the download is deleted
    url = server.url()
    server.stop()
    assert find_foreign(convert, url=url) == path
    assert (len(convert.calls), server.answered) == (1, 1)


def test_foreign_file_without_a_network(cache, monkeypatch):
    """A file that the user puts at the path in the message is converted and not deleted."""
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    convert, url = Convert(), "http://localhost:9/bvlc_alexnet.caffemodel"
    with pytest.raises(zoo.ZooError, match="ZOO_OFFLINE is set") as caught:
        find_foreign(convert, url=url)
    place = Path(str(caught.value).rsplit(" at ", 1)[-1])
    assert place.suffix == ".caffemodel" and not cache.exists()
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    path = find_foreign(convert, url=url)
    assert convert.calls == [place] and place.read_bytes() == CONTENT
    assert len(files(cache)) == 3
    place.unlink()
    assert find_foreign(convert, url=url) == path and len(convert.calls) == 1


def test_foreign_file_that_is_wrong_is_not_read(server, cache):
    """Neither a downloaded file nor one of the user is converted if its hash is wrong; the message names the algorithm."""
    convert = Convert()
    with pytest.raises(zoo.ZooError, match="sent a file whose sha1 is not that of the card; nothing was saved"):
        find_foreign(convert, url=server.url("flipped"))
    assert files(cache) == []
    with pytest.raises(zoo.ZooError, match="sent a file whose sha256 is not that of the card"):
        find_foreign(convert, url=server.url("flipped"), sha1=None, sha256=hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(
        zoo.ZooError, match=f"sends more than the {len(CONTENT) - 1:,} bytes that the card states; nothing was saved"
    ):
        find_foreign(convert, url=server.url(), largest=len(CONTENT) - 1)
    place = cache / "weights" / f"net.tag-{hashlib.sha1(CONTENT).hexdigest()[:12]}.h5"
    place.write_bytes(CONTENT[:-1])
    with pytest.raises(zoo.ZooError, match=f"damaged: their sha1 is not that of the card; fix: rm {re.escape(str(place))}"):
        find_foreign(convert, url=server.url())
    assert convert.calls == [] and files(cache) == [place]


def test_conversion_that_fails(server, cache):
    """The result is not used, and the file is not downloaded again, although its size is unknown."""
    convert = Convert()
    for convert.error in (zoo.ZooError("it is of another net"), KeyboardInterrupt()):
        with pytest.raises(type(convert.error)):
            find_foreign(convert, url=server.url())
        assert part(cache).read_bytes() == CONTENT
    convert.error = None
    assert find_foreign(convert, url=server.url()).read_bytes().startswith(b"converted")
    assert server.sent == len(CONTENT) and server.ranges == [None, *[f"bytes={len(CONTENT)}-"] * 2]


def test_damaged_converted_file(server, cache):
    """It is found at every use, and the command in the message fixes it."""
    convert = Convert()
    path = find_foreign(convert, url=server.url())
    whole = path.read_bytes()
    for damaged in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(zoo.ZooError, match=r"damaged: their sha256 is not that in net\.tag-") as caught:
            find_foreign(convert, url=server.url())
    assert len(convert.calls) == 1
    subprocess.run(str(caught.value).split("fix: ")[1], shell=True, check=True)
    assert files(cache) == []
    assert find_foreign(convert, url=server.url()).read_bytes() == whole
    path.with_name(f"{path.name}.sha256").unlink()  # as after a crash before the hash was written
    assert find_foreign(convert, url=server.url()).read_bytes() == whole and len(convert.calls) == 3


def test_two_at_once_convert_once(server, cache):
    """The second thread waits for the first."""
    convert, found = Convert(), []
    threads = [
        threading.Thread(target=lambda: found.append(find_foreign(convert, url=server.url("together")))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    server.both.wait()
    for thread in threads:
        thread.join(60)
    assert found[0] == found[1] and len(convert.calls) == server.answered == 1


def test_load_of_foreign_weights(server, cache, monkeypatch):
    """zoo.load downloads, converts and loads; the classifier has the names and ids of the class list in the card."""
    import keras
    import numpy as np

    def message(tag, inner):
        size, written = len(inner), bytearray()
        while size > 127:
            written.append(size & 127 | 128)
            size >>= 7
        return tag + bytes([*written, size]) + inner

    def blob(array):
        shape = message(b"\x3a", message(b"\x0a", b"".join(bytes([s & 127 | 128, s >> 7]) for s in array.shape)))
        return message(b"\x3a", shape + message(b"\x2a", array.astype("<f4").tobytes()))

    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(1000, 784)), rng.normal(size=1000)
    server.content = message(b"\xa2\x06", message(b"\x0a", b"ip") + blob(kernel) + blob(bias))
    card = dict(registry.raw_cards()["linear"])
    name = zoo.build("linear").layers[-1].name
    result = {"result": "accuracy", "value": 57.0, "dataset": "imagenet", "source": "somebody"}
    source = {"url": server.url(), "format": "caffe", "sha1": hashlib.sha1(server.content).hexdigest(), "largest": 10**7}
    given = {**source, "licence": "none", "classes": "imagenet1k", "published": [result]}
    card |= {"name": "little", "imports": {"caffe": {name: "ip"}}, "weights": {"imagenet": given}}
    monkeypatch.setattr(registry, "raw_cards", lambda: {"little": card})
    registry._card.cache_clear()
    try:
        for _ in range(2):
            classifier = zoo.load("little.imagenet")
            assert classifier.class_names[:2] == ["tench", "goldfish"] and classifier.class_ids[0] == "n01440764"
            np.testing.assert_array_equal(classifier.net.layers[-1].kernel.numpy(), kernel.astype("float32").T)
        assert server.answered == 1
        classifier.save(cache / "x.keras")
        loaded = keras.saving.load_model(cache / "x.keras", compile=False)
        assert loaded.class_ids == classifier.class_ids and loaded.weights_name == "little.imagenet"
    finally:
        registry._card.cache_clear()


# Validation of the weights in a card.


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sha1": None}, "give one of sha256 and"),
        ({"sha256": "0" * 64}, "give one of sha256 and"),
        ({"largest": None}, "give one of size and"),
        ({"size": 3}, "give one of size and"),
        ({"published": ()}, "measured or published"),
        ({"format": None}, "sha1 and largest need a foreign format"),
        ({"format": None, "sha1": None, "sha256": "0" * 64, "largest": None, "size": 3}, "give the recipe"),
        ({"url": None, "file": "x.h5"}, "sha1 and largest need a url"),
        ({"sha1": "0" * 39}, "'sha1'"),
        ({"format": "keras"}, "'format' is 'keras'"),
        ({"classes": "imagenet1"}, "no list of classes 'imagenet1'; did you mean 'imagenet1k'"),
    ],
)
def test_wrong_weights(change, message):
    right = foreign(url="http://localhost/x.caffemodel").model_dump()
    schema.validate(right, Weights, "card")
    with pytest.raises(zoo.ZooError, match=f"^card: .*{message}"):
        schema.validate({**right, **change}, Weights, "card")


def test_card_without_the_layers_of_a_format():
    card = {**registry.raw_cards()["linear"], "weights": {"x": foreign(url="http://localhost/x.caffemodel").model_dump()}}
    with pytest.raises(zoo.ZooError, match=r"weights.x have the format caffe, but there is no \[imports.caffe\]"):
        schema.validate(card, schema.Card, "card")
    schema.validate({**card, "imports": {"caffe": {"a": "b"}}}, schema.Card, "card")
    with pytest.raises(zoo.ZooError, match=r"'imports\.onnx"):
        schema.validate({**card, "imports": {"onnx": {"a": "b"}}}, schema.Card, "card")
