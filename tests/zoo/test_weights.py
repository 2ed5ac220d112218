"""The weight store against a real server on this machine."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path

import pytest

import zoo
from zoo import weights as store
from zoo.schema import Measured, Weights

CONTENT = os.urandom(3 * 2**20 + 17)  # more than the three pieces in which it is read


class Server(http.server.ThreadingHTTPServer):
    """Counts its answers; the path of an address says how it misbehaves."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answered = 0
        self.both = threading.Barrier(2, timeout=60)
        self.pieces, self.left = 0, threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, behaviour="good"):
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/weights.h5"

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.answered += 1
        behaviour = self.path.split("/")[1]
        content = {"flipped": b"\0" + CONTENT[1:], "longer": CONTENT + b"\0"}.get(behaviour, CONTENT)
        if behaviour == "missing":
            return self.send_error(404)
        if behaviour == "together":
            self.server.both.wait()  # nobody gets a byte before both have asked
        self.send_response(200)
        if behaviour == "cut-chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.wfile.write(b"100000\r\n" + content[:1000])
        if behaviour == "endless":
            self.end_headers()
            return self.send_without_end()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if behaviour == "cut" else content)

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
    """The second time comes from the cache: the server is gone."""
    path = find(url=server.url())
    assert path.read_bytes() == CONTENT and path.suffix == ".h5"
    assert files(cache) == [path]
    url = server.url()
    server.stop()
    assert find(url=url) == path
    assert server.answered == 1


def test_other_content_has_another_name(server, cache):
    """New weights under an old name are fetched, not taken from the cache."""
    old = find(url=server.url())
    flipped = hashlib.sha256(b"\0" + CONTENT[1:]).hexdigest()
    new = find(url=server.url("flipped"), sha256=flipped)
    assert sorted(files(cache)) == sorted([old, new])


@pytest.mark.parametrize(
    "behaviour, message",
    [
        ("flipped", "whose sha256 is not that of the card"),
        ("cut", "sha256 is not that of the card|could not be fetched"),
        ("cut-chunks", "could not be fetched"),
        ("longer", f"more than the {len(CONTENT):,} bytes"),
        ("missing", "could not be fetched.*Not Found"),
    ],
)
def test_bad_answer_leaves_nothing(server, cache, behaviour, message):
    with pytest.raises(zoo.ZooError, match=message) as caught:
        find(url=server.url(behaviour))
    assert server.url(behaviour) in str(caught.value)
    assert files(cache) == []
    assert find(url=server.url()).read_bytes() == CONTENT


def test_answer_without_end(server, cache):
    """It fills no disk: the store hangs up after the bytes of the card."""
    with pytest.raises(zoo.ZooError, match=f"more than the {len(CONTENT):,} bytes"):
        find(url=server.url("endless"))
    assert files(cache) == []
    assert server.left.wait(60) and server.pieces < 64


def test_server_that_does_not_answer(server, cache):
    url = server.url()
    server.stop()
    with pytest.raises(zoo.ZooError, match="could not be fetched") as caught:
        find(url=url)
    place = str(caught.value).rsplit(" ", 1)[-1]
    assert url in str(caught.value) and files(cache) == []
    Path(place).write_bytes(CONTENT)  # the message says where a file that was fetched elsewhere goes
    assert find(url=url).read_bytes() == CONTENT


def test_offline(server, cache, monkeypatch):
    """Nothing is asked of the server; the message says what to put where, and that works."""
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(zoo.ZooError, match="ZOO_OFFLINE") as caught:
        find(url=server.url())
    assert server.answered == 0 and not cache.exists()
    place = Path(str(caught.value).rsplit(" at ", 1)[-1])
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert find(url=server.url()) == place


def test_damaged_in_the_cache(server):
    """It is refused, not used and not fetched over; the command of the message mends it."""
    path = find(url=server.url())
    for damaged in (CONTENT[:-1], CONTENT + b"\0", bytes([CONTENT[0] ^ 1]) + CONTENT[1:], b""):
        path.write_bytes(damaged)
        with pytest.raises(zoo.ZooError, match="damaged") as caught:
            find(url=server.url())
        assert path.read_bytes() == damaged and server.answered == 1
    subprocess.run(str(caught.value).split("mend: ")[1], shell=True, check=True)
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
    """Start a process that finds the weights."""
    command = [sys.executable, "-c", FIND, weights.model_dump_json(), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_two_processes_at_once(server, cache):
    """Both ask before either gets a byte; both get the file, and nothing else is left."""
    children = [find_elsewhere(weights(url=server.url("together"))) for _ in range(2)]
    ends = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], ends
    assert server.answered == 2
    (path,) = files(cache)
    assert path.read_bytes() == CONTENT
    assert [out for out, _ in ends] == [f"{path}\n"] * 2  # and the bar is not on the standard output


def test_read_only_cache(server, open_folder):
    """One that holds the file serves; one that does not says what to do."""
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


def test_packaged_file(tmp_path, cache):
    """Checked at every use; what is not the file of the card is refused with the command that mends it."""
    path = tmp_path / "packaged.h5"
    path.write_bytes(CONTENT)
    assert find(file=str(path)) == path and not cache.exists()
    for damaged in (bytes([CONTENT[0] ^ 1]) + CONTENT[1:], CONTENT[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(zoo.ZooError, match=r"damaged.*mend: python -m pip install"):
            find(file=str(path))
    path.unlink()
    with pytest.raises(zoo.ZooError, match=r"missing.*mend: python -m pip install"):
        find(file=str(path))


@pytest.mark.parametrize("name", zoo.list_models(pretrained=True))
def test_flipped_bit_in_packaged_weights(name, tmp_path):
    """One bit of the file that is shipped, flipped in a copy."""
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
