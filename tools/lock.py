"""Write the exact versions, with file hashes, of the packages in the Debian packages: packaging/locked.txt for the
cabinet, packaging/fleet/locked.txt for the fleet, and packaging/compiler.txt for the compiler of lgpio.

`python tools/lock.py` resolves the ranges of setup.cfg again, for all platforms at once; if --upgrade is given, it also
takes newer versions than the locked ones. The build (tools/build_deb.py) uses only these versions.
"""

import argparse
import configparser
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKED = ROOT / "packaging" / "locked.txt"
FLEET = ROOT / "packaging" / "fleet" / "locked.txt"
COMPILER = ROOT / "packaging" / "compiler.txt"
PYTHON = "3.11"  # of Debian 12, and newer

LEFT_OUT = {
    # No wheel for any platform. lgpio has all functions needed, also on a Pi 5, on which RPi.GPIO does not work. If
    # RPi.GPIO is preferred, Debian's python3-rpi.gpio is used (see build_deb.py).
    "RPi.GPIO",
}
EVERYWHERE = {
    # setup.cfg requires it only on a Pi; the amd64 package uses it for the lines of a virtual machine.
    "lgpio",
}
NOT_IN_THE_FLEET = {"gpiozero", "smbus2", "pyserial", "lgpio", "RPi.GPIO"}  # a server has no such devices
COMPILERS = ["swig>=4.3,<4.4", "ziglang>=0.15,<0.16"]  # SWIG as lgpio's own wheels are made with
HEADER = """\
# Exact versions and hashes for the Debian packages; made by `python tools/lock.py`, not by hand.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Lock the versions that the Debian packages carry.")
    parser.add_argument("--upgrade", action="store_true", help="take newer versions where setup.cfg allows them")
    args = parser.parse_args()
    fleet = [each for each in setup_cfg() if name_of(each) not in NOT_IN_THE_FLEET] + setup_cfg("fleet")
    for file, requirements in ((LOCKED, wanted(setup_cfg())), (FLEET, fleet), (COMPILER, COMPILERS)):
        if status := write(file, requirements, args.upgrade):
            return status
    return 0


def write(file: Path, requirements: list[str], upgrade: bool) -> int:
    command = ["uv", "pip", "compile", "-", "--universal", "--python-version", PYTHON, "--generate-hashes"]
    command += ["--quiet", "--no-header", "--output-file", str(file)] + (["--upgrade"] if upgrade else [])
    command[0] = str(Path(sys.executable).with_name("uv"))
    done = subprocess.run(command, input="\n".join(requirements), text=True, cwd=ROOT, check=False)
    if done.returncode == 0:
        # Remove the source comments: they depend on the machine, versions and hashes do not.
        lines = [line for line in file.read_text().splitlines() if not re.match(r"\s*#", line)]
        file.write_text(HEADER + "\n".join(lines) + "\n")
        print(f"{file.relative_to(ROOT)}: {len(locked(file.read_text()))} packages")
    return done.returncode


def setup_cfg(extra: str = "") -> list[str]:
    """Return the product's dependencies from setup.cfg, or those of one of its extras."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    found = setup["options.extras_require"][extra] if extra else setup["options"]["install_requires"]
    return [line for line in found.splitlines() if line]


def wanted(requirements: list[str]) -> list[str]:
    """Return the requirements to lock. Pure."""
    kept = [each for each in requirements if name_of(each) not in LEFT_OUT]
    return [each.split(";")[0].strip() if name_of(each) in EVERYWHERE else each for each in kept]


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0]


def locked(text: str) -> dict[str, str]:
    """Return versions by normalised name, without packages only for other systems."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; ([^\\\n]*))?", text, re.MULTILINE)
    return {name.lower(): version for name, version, marker in found if "win32" not in marker}


if __name__ == "__main__":
    sys.exit(main())
