"""Report of wheels for all packages of a cabinet, which must need no compiler: docs/reports/wheels.md.

`python tools/wheel_report.py` downloads, for both platforms, the packages in packaging/locked.txt, and lists for each
the wheel that a cabinet gets: pure Python, or compiled for that platform.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from lock import LOCKED, PYTHON, ROOT, locked

REPORT = ROOT / "docs" / "reports" / "wheels.md"
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
GLIBC = ("2_36", "2_35", "2_34", "2_31", "2_28", "2_27", "2_26", "2_24", "2_17")  # Debian 12 has 2.36


class Wheel(NamedTuple):
    name: str
    version: str
    platform: str

    @classmethod
    def parse(cls, file_name: str) -> "Wheel":
        """Return the wheel of a file name (PEP 427)."""
        parts = file_name.removesuffix(".whl").split("-")
        return cls(parts[0].lower().replace("_", "-").replace(".", "-"), parts[1], parts[-1])

    @property
    def pure(self) -> bool:
        return self.platform == "any"


def main() -> int:
    found = {arch: wheels(machine) for arch, machine in MACHINES.items()}
    text, missing = page(locked(LOCKED.read_text()), found)
    REPORT.write_text(text)
    print(f"{REPORT.relative_to(ROOT)}: {len(missing)} of them without a wheel {', '.join(missing)}".rstrip())
    return 1 if missing else 0


def page(versions: dict[str, str], found: dict[str, dict[str, Wheel]]) -> tuple[str, list[str]]:
    """Return the report, and the packages without a wheel for one of the platforms. Pure."""
    lines = [
        "# Wheels for a Pi",
        "",
        "`python tools/wheel_report.py`: for every package in `packaging/locked.txt` what the index has for Python",
        f"{PYTHON} on 64-bit ARM and x86. `pure` is one wheel for all.",
        "",
        "| package | version | arm64 | amd64 |",
        "|---|---|---|---|",
    ]
    missing = []
    for name, version in sorted(versions.items()):
        cells = []
        for arch in MACHINES:
            wheel = found[arch].get(name)
            if wheel is None or wheel.version != version:
                missing.append(f"{name} ({arch})")
                cells.append("**none**")
            else:
                cells.append("pure" if wheel.pure else wheel.platform.split(".")[0])
        lines.append(f"| {name} | {version} | {' | '.join(cells)} |")
    lines += [
        "",
        "Not among them: RPi.GPIO, which no index has as a wheel. The package does not carry it:",
        '`hardware.pin_factory = "lgpio"` needs nothing else, on a Pi 5 too. For `"rpigpio"` install Debian\'s',
        "python3-rpi.gpio, which the package's environment finds by itself.",
        "",
        "32-bit Raspberry Pi OS: argon2-cffi-bindings, cffi, msgspec and others have no armv7l wheel, so there is no",
        "package for it.",
    ]
    return "\n".join(lines) + "\n", missing


def wheels(machine: str) -> dict[str, Wheel]:
    """Return the wheels that pip takes for that machine, by name.

    If a package has no wheel, the joint download fails, so each package is then downloaded alone.
    """
    platforms = [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_{machine}")]
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:", "--dest", folder]
        pip += [*platforms, "--platform", f"manylinux2014_{machine}", "--python-version", PYTHON]
        if subprocess.run([*pip, "-r", LOCKED], cwd=ROOT, check=False).returncode:
            for name, version in locked(LOCKED.read_text()).items():
                subprocess.run([*pip, f"{name}=={version}"], cwd=ROOT, check=False)
        return {wheel.name: wheel for wheel in map(Wheel.parse, (path.name for path in Path(folder).glob("*.whl")))}


if __name__ == "__main__":
    sys.exit(main())
