"""What an emulated ARM board is made of: QEMU, and Debian's Python for arm64 with onnxruntime's wheels, in the folder .arm/.

Nothing is installed. apt runs with an architecture and a state of its own, downloads packages and checks their signatures;
`dpkg --extract` unpacks them. Each folder gets its name only when it is whole. Call: python tests/arm/debian_arm.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ARM = Path(__file__).parents[2] / ".arm"
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
QEMU = ARM / "qemu" / "qemu-aarch64-static"


@dataclass(frozen=True)
class Root:
    """A Debian for arm64 with Python; `wheels` are of the same Python.

    None is a JetPack's own: Debian has no Python 3.6 or 3.8, and 3.10 and 3.12 lie between its releases.
    """

    suite: str
    python: str
    wheels: tuple[str, ...]

    @property
    def folder(self):
        return ARM / self.suite

    @property
    def command(self):
        """The words that run this Python, but for QEMU's processor."""
        site = self.folder / "site"
        return [
            "-L",
            str(self.folder),
            "-E",
            f"PYTHONPATH={site}",
            str(self.folder / "usr" / "bin" / f"python{self.python}"),
        ]


ROOTS = (
    # The last of each that JetPack 4's Python 3.6 can have, in the oldest Python that Debian serves.
    Root("bullseye", "3.9", ("onnxruntime==1.10.0", "numpy==1.19.5", "pillow==8.4.0")),
    Root("bookworm", "3.11", ("onnxruntime==1.22.1", "numpy==2.2.6", "pillow==11.3.0")),
)


def fetch():
    """Fetch what .arm/ lacks, and say so.

    Raises:
        SystemExit: there is no apt, no Debian mirror is configured, or a download failed.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        sys.exit("make test-arm takes QEMU and Python for arm64 from Debian's packages, and this machine has no apt-get")
    if not KEYS.is_file():
        sys.exit(f"{KEYS} is missing; apt-get install debian-archive-keyring brings it")
    ARM.mkdir(exist_ok=True)
    make(QEMU.parent, take_qemu)
    for root in ROOTS:
        make(root.folder, lambda folder, root=root: fill(folder, root))


def make(folder, write):
    """Let `write` fill a folder that gets the name `folder` at its end; nothing is done where that exists."""
    if folder.is_dir():
        return
    print(f"fetching {folder.relative_to(ARM.parent)} ...", flush=True)
    with tempfile.TemporaryDirectory(dir=ARM) as made:
        whole = Path(made) / "whole"
        whole.mkdir()
        write(whole)
        whole.rename(folder)


def take_qemu(folder):
    unpack(folder, "bookworm", host_architecture(), ["qemu-user-static"], needs=False)
    (folder / "usr" / "bin" / QEMU.name).rename(folder / QEMU.name)
    shutil.rmtree(folder / "usr")  # the other fifty machines, 350 MB


def fill(folder, root):
    unpack(folder, root.suite, "arm64", [f"python{root.python}", "libstdc++6"], needs=True)
    wheels = folder / "wheels"
    platforms = ["manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"]
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--implementation=cp"]
    words += [f"--platform={platform}" for platform in platforms]
    # A machine's own list of allowed versions is for its own Python.
    run([*words, f"--python-version={root.python}", f"--dest={wheels}", *root.wheels], PIP_CONSTRAINT=os.devnull)
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder / "site")
    shutil.rmtree(wheels)


def unpack(folder, suite, architecture, packages, needs):
    """Unpack Debian packages of a suite into a folder, with all that they need or alone."""
    with tempfile.TemporaryDirectory(dir=ARM) as name:
        apt = Path(name)
        (apt / "lists" / "partial").mkdir(parents=True)
        (apt / "archives" / "partial").mkdir(parents=True)
        (apt / "status").touch()
        (apt / "sources.list").write_text(f"deb [signed-by={KEYS}] {mirror()} {suite} main\n")
        (apt / "apt.conf").write_text(
            f'APT::Architecture "{architecture}"; APT::Architectures {{ "{architecture}"; }}; APT::Sandbox::User "";\n'
            f'Dir::State "{apt}"; Dir::State::status "{apt}/status"; Dir::Cache "{apt}"; Acquire::Languages "none";\n'
            f'Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "-";\n'
        )
        settings = {"APT_CONFIG": str(apt / "apt.conf")}
        run(["apt-get", "-qq", "update"], **settings)
        if needs:
            # The state is empty, so nothing counts as installed, and libc6 comes too.
            words = ["install", "--yes", "--download-only", "--no-install-recommends"]
            run(["apt-get", "-qq", *words, *packages], **settings)
        else:
            run(["apt-get", "-qq", "download", *packages], apt / "archives", **settings)
        for package in sorted((apt / "archives").glob("*.deb")):
            run(["dpkg", "--extract", str(package), str(folder)])


def host_architecture():
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def mirror():
    """Return the address from which this machine's apt takes Debian."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    for address in subprocess.run(words, capture_output=True, text=True, check=True).stdout.split():
        if address.rstrip("/").endswith("/debian"):
            return address
    sys.exit("apt of this machine has no Debian mirror among its sources; make test-arm needs one")


def run(words, folder=None, **settings):
    done = subprocess.run(words, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    fetch()
