"""Make the virtual environment of `make run` and `make test` with the tools of this machine.

It needs only Python: a fresh Debian has no `ensurepip` until python3-venv is installed, but its pip can install another
pip into a bare environment. If a step needs root, the error states it in one line.
"""

import platform
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

OLDEST = (3, 11)


def main(folder: Path) -> int:
    if sys.version_info < OLDEST:
        found = platform.python_version()
        return fail(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {found}: make PYTHON=/path/to/python3")
    if platform.machine().startswith(("aarch64", "arm")) and not header().exists():
        return fail("RPi.GPIO is compiled on this machine and needs Python's headers: sudo apt install python3-dev gcc")
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, symlinks=True, with_pip=False)
    if run(python, "-m", "pip", "--version"):
        return 0
    if run(python, "-m", "ensurepip", "--default-pip"):
        return 0
    if run(Path(sys.executable), "-m", "pip", "--python", str(python), "install", "--quiet", "pip"):
        return 0
    return fail("this Python has neither ensurepip nor a pip of 22.3 or newer: sudo apt install python3-venv")


def header() -> Path:
    return Path(sysconfig.get_path("include")) / "Python.h"


def run(*command: str | Path) -> bool:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def fail(line: str) -> int:
    print(line, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".venv")))
