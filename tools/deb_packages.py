"""The Python packages of a Debian package: one folder for the Python of every release that it is for.

A compiled module has the version of its Python in its name (`_core.cpython-313-aarch64-linux-gnu.so`), and so has a
compiled source (`x.cpython-313.pyc`); everything else of a locked version is the same for all. So the wheels of every
Python are laid over each other in one folder, and each Python finds its own files in it.

lgpio has no wheel for Python 3.13: it is compiled here, once for all versions (limited API), for either architecture
and for the oldest C library of the releases (tools/build_lgpio.py).
"""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

from build_lgpio import build_lgpio
from interpreters import CannotBuild as CannotBuild
from interpreters import interpreter

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
LOCKED = PACKAGING / "locked.txt"
LEFT_OUT = PACKAGING / "left-out.txt"
PYTHONS = {"3.11": "bookworm", "3.13": "trixie"}  # and Debian's release that has it; in this order in every list
PLATFORMS = {"amd64": "x86_64-manylinux_2_36", "arm64": "aarch64-manylinux_2_36"}  # the C library of Debian 12


def lay_out_packages(packages: Path, arch: str, wheel: Path, locked: Path = LOCKED, left_out: Path = LEFT_OUT) -> None:
    """Fill the folder with the product's wheel and its locked dependencies. Raises CannotBuild."""
    work = packages.parent / "packages-of"
    for python in PYTHONS:
        _install(work / python, arch, python, wheel, locked)
        merge(work / python, packages)
    shutil.rmtree(work)
    if "lgpio==" in locked.read_text():
        build_lgpio(packages, arch)
    for missing in leave_out(packages, left_out):
        raise CannotBuild(f"{left_out.name}: {missing} is not there any more: remove the line")
    compile_sources(packages)


def _install(packages: Path, arch: str, python: str, wheel: Path, locked: Path) -> None:
    uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--link-mode", "copy"]
    uv += ["--target", packages, "--python-platform", PLATFORMS[arch], "--python-version", python]
    run(*uv, "--only-binary", ":all:", "--require-hashes", "-r", _without_lgpio(packages, locked))
    run(*uv, "--no-deps", wheel)


def _without_lgpio(packages: Path, locked: Path) -> Path:
    """Return a file with the locked versions, without the one that is compiled here."""
    lines, kept = locked.read_text().splitlines(), []
    skipping = False
    for line in lines:
        skipping = line.startswith("lgpio==") or (skipping and line.startswith(" "))
        if not skipping:
            kept.append(line)
    packages.mkdir(parents=True)
    file = packages.with_suffix(".txt")
    file.write_text("\n".join(kept) + "\n")
    return file


def merge(source: Path, target: Path) -> None:
    """Move the files into `target`; one that is there already must be the same. Raises CannotBuild."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif not place.exists():
            path.rename(place)
        elif not filecmp.cmp(path, place, shallow=False) and ".dist-info/" not in str(path.relative_to(source)):
            raise CannotBuild(f"{path.relative_to(source)}: differs between the versions of Python")


def leave_out(packages: Path, left_out: Path = LEFT_OUT) -> list[str]:
    """Remove the files that `left_out` lists; return its lines that name a package and found nothing."""
    unused = []
    for line in left_out.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        found = list(packages.glob(line))
        if not found and line[0].isalpha():
            unused.append(line)
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for folder in sorted(filter(Path.is_dir, packages.rglob("*")), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return unused


def compile_sources(packages: Path) -> None:
    """Add the compiled files of each Python: the root may be read-only, and the first start must not be slow."""
    root = packages.parents[3]
    options: list[str | Path] = ["-q", "-s", root, "-p", "/", "--invalidation-mode", "unchecked-hash"]
    for python, release in PYTHONS.items():
        command, environment = interpreter(python, release)
        run(*command, "-m", "compileall", *options, packages, PYTHONHASHSEED="0", **environment)


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    if done.returncode:
        raise CannotBuild(f"{command[0]} failed (exit status {done.returncode})")
    return done.stdout
