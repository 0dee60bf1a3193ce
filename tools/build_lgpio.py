"""Compile lgpio for the Debian package: one module for every Python from 3.11 on (limited API).

Its index has wheels up to Python 3.12 only, and Debian does not have it. The source is the locked one; SWIG and the
compiler are locked too (packaging/compiler.txt) and come from the index: Zig's compiles for either architecture, and
for the C library of Debian 12 on any machine.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from interpreters import CannotBuild

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
CACHE = ROOT / "build" / "lgpio"
TARGETS = {"amd64": "x86_64-linux-gnu.2.36", "arm64": "aarch64-linux-gnu.2.36"}  # the C library of Debian 12
LIMITED_API = "0x030b0000"  # 3.11: the first in which it has buffers, which lgpio uses
OPTIONS = ("-shared", "-fPIC", "-O2", "-fno-sanitize=undefined", "-s", "-w", "-pthread", "-D_GNU_SOURCE")
# Included by Python.h, but not by that of the limited API.
HEADERS = ("errno.h", "stdio.h", "stdlib.h", "string.h", "unistd.h")


def build_lgpio(packages: Path, arch: str) -> None:
    """Add lgpio to the folder of packages. Raises CannotBuild."""
    source = CACHE / "source"
    if not (source / "wrap.c").exists():
        _get_source(source)
    module = CACHE / f"_lgpio-{arch}.so"
    if not module.exists():
        included = [word for header in HEADERS for word in ("-include", header)]
        _run(
            _compiler() / "ziglang/zig", "cc", "-target", TARGETS[arch], *OPTIONS, f"-DPy_LIMITED_API={LIMITED_API}",
            *included, f"-I{source / 'src'}", f"-I{_headers()}", source / "wrap.c", *sorted(source.glob("src/lg*.c")),
            source / "src/rgpiod.c", "-lrt", "-ldl", "-o", module,
        )  # fmt: skip
    shutil.copyfile(module, packages / "_lgpio.abi3.so")
    shutil.copyfile(source / "lgpio.py", packages / "lgpio.py")
    described = packages / f"lgpio-{_requirement()[0]}.dist-info"
    described.mkdir()
    shutil.copyfile(source / "PKG-INFO", described / "METADATA")
    shutil.copyfile(source / "LICENSE", described / "LICENSE")


def _get_source(source: Path) -> None:
    """Download the locked source, and have SWIG write the module's C and Python."""
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)
    version, requirement = _requirement()
    (CACHE / "lgpio.txt").write_text(requirement)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run(*pip, "--no-binary", ":all:", "--no-build-isolation", "--require-hashes", "-r", "lgpio.txt")
    with tarfile.open(CACHE / f"lgpio-{version}.tar.gz") as tar:
        tar.extractall(CACHE, filter="data")
    (CACHE / f"lgpio-{version}").rename(source)
    _run(sys.executable, _compiler() / "bin/swig", "-python", "-o", "wrap.c", "lgpio.i", cwd=source)


def _requirement() -> tuple[str, str]:
    """Return the locked version of lgpio, and the lines of the lock with its hashes."""
    found = re.search(r"^lgpio==(\S+)(?:.*\\\n)+.*\n", (PACKAGING / "locked.txt").read_text(), re.MULTILINE)
    if found is None:
        raise CannotBuild("packaging/locked.txt: lgpio is not in it: python tools/lock.py")
    return found[1], found[0]


def _compiler() -> Path:
    """Return the folder with SWIG and Zig; fetch them if they are not there (390 MB on disk)."""
    folder = ROOT / "build" / "compiler"
    if not (folder / "bin/swig").exists():
        uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--target", folder]
        _run(*uv, "--only-binary", ":all:", "--require-hashes", "-r", PACKAGING / "compiler.txt", cwd=ROOT)
    return folder


def _headers() -> Path:
    """Return a folder with Python's headers. The limited API takes nothing from the machine's own but the sizes of
    types, which are those of every 64-bit Linux.
    """
    folder, included = CACHE / "include", Path(sysconfig.get_path("include"))
    if not (included / "Python.h").exists():
        raise CannotBuild("Python's headers are needed: sudo apt install python3-dev")
    shutil.copytree(included, folder, dirs_exist_ok=True)
    # Debian's own pyconfig.h only includes that of the architecture, from a folder beside it.
    own = included.parent / str(sysconfig.get_config_var("MULTIARCH")) / included.name / "pyconfig.h"
    shutil.copyfile(own if own.exists() else included / "pyconfig.h", folder / "pyconfig.h")
    return folder


def _run(*command: str | Path, cwd: Path = CACHE) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "build" / "compiler")}
    done = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise CannotBuild(f"lgpio: {Path(command[0]).name} failed (exit status {done.returncode})")
