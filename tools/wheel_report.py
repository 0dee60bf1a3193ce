"""Report of wheels for all packages of a cabinet, which must need no compiler: docs/reports/wheels.md.

`python tools/wheel_report.py` downloads, for both platforms and the Python of each release, the packages in
packaging/locked.txt, and lists for each the wheel that a cabinet gets: pure Python, or compiled for that platform.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from deb_packages import PYTHONS
from lock import LOCKED, ROOT, locked

REPORT = ROOT / "docs" / "reports" / "wheels.md"
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
FROM_SOURCE = {"lgpio"}  # tools/build_lgpio.py
Found = dict[tuple[str, str], dict[str, "Wheel"]]  # by architecture and Python, then by name
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
    found = {(arch, python): wheels(machine, python) for arch, machine in MACHINES.items() for python in PYTHONS}
    text, missing = page(locked(LOCKED.read_text()), found)
    REPORT.write_text(text)
    print(f"{REPORT.relative_to(ROOT)}: {len(missing)} of them without a wheel {', '.join(missing)}".rstrip())
    return 1 if missing else 0


def page(versions: dict[str, str], found: Found) -> tuple[str, list[str]]:
    """Return the report, and the packages without a wheel for one of the platforms. Pure."""
    lines = [
        "# Wheels for a Pi",
        "",
        "`python tools/wheel_report.py`: for every package in `packaging/locked.txt` what the index has for Python",
        f"{' and '.join(PYTHONS)} on 64-bit ARM and x86. `pure` is one wheel for all; `compiled` has no wheel for each",
        "Python, and is compiled from its source when the package is built (`tools/build_lgpio.py`).",
        "",
        "| package | version | arm64 | amd64 |",
        "|---|---|---|---|",
    ]
    missing = []
    for name, version in sorted(versions.items()):
        cells = []
        for arch in MACHINES:
            if name in FROM_SOURCE:
                cells.append("compiled")
                continue
            kinds = []
            for python in PYTHONS:
                wheel = found[arch, python].get(name)
                if wheel is None or wheel.version != version:
                    missing.append(f"{name} ({arch}, Python {python})")
                    kinds.append(f"**none** for {python}")
                else:
                    kinds.append("pure" if wheel.pure else wheel.platform.split(".")[0])
            cells.append(", ".join(dict.fromkeys(kinds)))
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


def wheels(machine: str, python: str) -> dict[str, Wheel]:
    """Return the wheels that pip takes for that machine and Python, by name.

    If a package has no wheel, the joint download fails, so each package is then downloaded alone.
    """
    platforms = [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_{machine}")]
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:", "--dest", folder]
        pip += [*platforms, "--platform", f"manylinux2014_{machine}", "--python-version", python]
        versions = locked(LOCKED.read_text()).items()
        wanted = [f"{name}=={version}" for name, version in versions if name not in FROM_SOURCE]
        if subprocess.run([*pip, *wanted], cwd=ROOT, check=False).returncode:
            for each in wanted:
                subprocess.run([*pip, each], cwd=ROOT, check=False)
        return {wheel.name: wheel for wheel in map(Wheel.parse, (path.name for path in Path(folder).glob("*.whl")))}


if __name__ == "__main__":
    sys.exit(main())
