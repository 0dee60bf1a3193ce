"""Every Python of the releases, to compile sources for it: the machine's own, or Debian's out of its packages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "interpreters"
# Enough to compile sources, with the C library that it was made for.
PACKAGES = ("python{0}-minimal", "libpython{0}-minimal", "libpython{0}-stdlib", "libc6", "libexpat1", "zlib1g")


class CannotBuild(Exception):
    """Error with one line that states the reason and the remedy."""


def interpreter(python: str, release: str) -> tuple[list[str], dict[str, str]]:
    """Return the words that start this Python, and its environment. Raises CannotBuild.

    `python` such as 3.13, `release` the Debian release that has it: from there it is fetched if this machine has none.
    """
    if sys.version_info[:2] == tuple(map(int, python.split("."))):
        return [sys.executable], {}
    if (found := shutil.which(f"python{python}")) and _runs([found]):
        return [found], {}
    root = CACHE / python
    if not (root / "usr/bin" / f"python{python}").exists():
        _fetch(root, python, release)
    (loader,) = root.rglob("*-linux-gnu/ld-linux-*.so.*")
    libraries = ":".join(
        str(path) for pattern in ("lib/*-linux-gnu", "usr/lib/*-linux-gnu") for path in root.glob(pattern)
    )
    command = [str(loader), "--library-path", libraries, str(root / "usr/bin" / f"python{python}"), "-S"]
    environment = {"PYTHONHOME": str(root / "usr")}
    if not _runs(command, environment):
        raise CannotBuild(f"{root}: Debian's Python {python} does not start here; remove the folder, or install it")
    return command, environment


def _runs(command: Sequence[str], environment: dict[str, str] | None = None) -> bool:
    wanted = {**os.environ, **(environment or {})}
    return subprocess.run([*command, "-c", ""], env=wanted, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _fetch(root: Path, python: str, release: str) -> None:
    """Unpack the Debian packages of a Python; apt verifies their signature. Needs no root."""
    needed = f"Python {python} is needed to compile for it: install it"
    if shutil.which("apt-get") is None:
        raise CannotBuild(f"{needed}, or build on Debian")
    shutil.rmtree(root, ignore_errors=True)
    state = root / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True)
    (state / "sources.list").write_text(f"deb {_mirror(needed)} {release} main\n")
    (state / "status").touch()
    options = {
        "Dir::State::lists": state / "lists", "Dir::State::status": state / "status", "Dir::Cache": state,
        "Dir::Etc::sourcelist": state / "sources.list", "Dir::Etc::sourceparts": "-", "APT::Sandbox::User": "",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    names = [name.format(python) for name in PACKAGES]
    for words in (["update"], ["download", *names]):
        if subprocess.run([*apt, *words], cwd=state, check=False).returncode:
            raise CannotBuild(f"{needed} (Debian's could not be downloaded)")
    for package in state.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    shutil.rmtree(state)


def _mirror(needed: str) -> str:
    """Return the address of Debian's archive that this machine uses."""
    asked = [
        "apt-get",
        "indextargets",
        "--format",
        "$(SITE)",
        "Created-By: Packages",
        "Label: Debian",
        "Component: main",
    ]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if not found:
        raise CannotBuild(f"{needed} (no list of Debian's packages is here: apt-get update)")
    return found[0]
