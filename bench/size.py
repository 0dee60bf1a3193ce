"""Size of the Debian package, and the instructions to import the modules of each process: docs/reports/size.md.

    python -m bench.size                       the package in dist/ for this machine's architecture (make deb)
    python -m bench.size --before OLD.deb      the same beside another one

The instructions are counted by callgrind (valgrind, a Debian package) over the Python that runs this
(3.11 or 3.13, for which the package has compiled files); without valgrind that table is left out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from campaigns.runner import commit, machine

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs/reports/size.md"
BAR_MB = 80.0
MB = 1e6
BLOCK = 4096
PROCESSES = {
    "python alone": "",
    "guard": "import cabinet.main, cabinet.commands.guard, gpiozero.pins.lgpio",
    "service": "import cabinet.main, cabinet.commands.serve",
    "console": "import cabinet.main, cabinet.commands.console",
    "steward": "import cabinet.main, cabinet.commands.steward",
    "failsafe": "import cabinet.main, cabinet.commands.failsafe, gpiozero.pins.lgpio",
    "check": "import cabinet.main, cabinet.commands.check",
}


class Part(NamedTuple):
    """Bytes of one package of the tree: sources and data, compiled modules, Python's compiled files."""

    sources: int
    modules: int
    compiled: int

    @property
    def total(self) -> int:
        return sum(self)


class Package(NamedTuple):
    """An unpacked Debian package. `deb`, `installed` and `on_disk` in bytes; `on_disk` in blocks of 4 KiB."""

    deb: int
    installed: int
    on_disk: int
    files: int
    parts: dict[str, Part]
    start: dict[str, tuple[int, int]]  # process to (modules, instructions)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deb", type=Path, nargs="?")
    parser.add_argument("--before", type=Path, metavar="DEB", help="to compare with")
    args = parser.parse_args()
    architecture = run("dpkg", "--print-architecture").strip()
    found = sorted(ROOT.glob(f"dist/cabinet_*_{architecture}.deb"), key=lambda path: path.stat().st_mtime)
    if not args.deb and not found:
        print(f"dist/cabinet_*_{architecture}.deb: is not there: make deb", file=sys.stderr)
        return 1
    now = measure(args.deb or found[-1])
    before = measure(args.before) if args.before else None
    REPORT.write_text(page(now, before))
    print(f"{REPORT.relative_to(ROOT)}: installed {now.installed / MB:.1f} MB of {BAR_MB:.0f} allowed:", end=" ")
    print(f"{now.installed / MB / BAR_MB:.2f}")
    return 0 if now.installed / MB <= BAR_MB else 1


def measure(deb: Path) -> Package:
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "--extract", str(deb), folder)
        files = [path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()]
        sizes = {path: path.stat().st_size for path in files}
        (product,) = Path(folder).rglob("cabinet/main.py")
        packages = product.parents[1]
        return Package(
            deb=deb.stat().st_size,
            installed=sum(sizes.values()),
            on_disk=sum(-(-size // BLOCK) * BLOCK for size in sizes.values()),
            files=len(files),
            parts=by_package({path.relative_to(packages): size for path, size in sizes.items()
                              if path.is_relative_to(packages)}),
            start={name: start(packages, code) for name, code in PROCESSES.items()} if shutil.which("valgrind") else {},
        )  # fmt: skip


def by_package(sizes: dict[Path, int]) -> dict[str, Part]:
    """Return the parts by package; a licence counts with the rest of the licences. Pure."""
    found: dict[str, list[int]] = {}
    for path, size in sizes.items():
        name = "licences" if ".dist-info" in path.parts[0] else re.split(r"\.", path.parts[0])[0]
        kind = 2 if path.suffix == ".pyc" else 1 if path.suffix == ".so" else 0
        if path.parts[0] == "__pycache__":
            name = path.name.partition(".")[0]
        found.setdefault(name.removeprefix("_lgpio") or "lgpio", [0, 0, 0])[kind] += size
    return {name: Part(*sums) for name, sums in found.items()}


def start(packages: Path, code: str) -> tuple[int, int]:
    """Return the modules that a process imports at its start, and the instructions of it."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", "LG_WD": tempfile.gettempdir()}
    code = f"import sys; sys.path.insert(0, sys.argv[1])\n{code}\nprint(len(sys.modules))"
    words = [os.path.realpath(sys.executable), "-I", "-S", "-c", code, str(packages)]
    counted = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *words]
    done = subprocess.run(counted, capture_output=True, text=True, check=True, env=environment)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if collected is None:
        raise SystemExit(f"callgrind counted nothing: {done.stderr[-500:]}")
    return int(done.stdout), int(collected[1])


def page(now: Package, before: Package | None) -> str:
    """Return the report. Pure but for the date and the machine."""
    shown = [*([("before", before)] if before else []), ("now" if before else "", now)]
    lines = [
        "# Size of the package, and its start",
        "",
        f"`python -m bench.size{' --before OLD.deb' if before else ''}`, {run('date', '+%F').strip()}, {machine()}, "
        f"commit {commit()}. MB are 10^6 bytes.",
        "",
        f"| whole package | {' | '.join(name or 'size' for name, _ in shown)} | allowed |",
        f"|---|{'---|' * len(shown)}---|",
        row("the .deb, MB", [f"{each.deb / MB:.1f}" for _, each in shown], ""),
        row("**installed, MB**", [f"{each.installed / MB:.1f}" for _, each in shown], f"{BAR_MB:.0f}"),
        row("on disk in blocks of 4 KiB, MB", [f"{each.on_disk / MB:.1f}" for _, each in shown], ""),
        row("files", [str(each.files) for _, each in shown], ""),
        "",
        "## Each package",
        "",
        "In kB. `compiled` are Python's compiled files: of one version in a package for one release, of two in the",
        "package for both.",
        "",
        f"| package | sources, data | modules in C | compiled | {headed('all', shown)} |",
        f"|---|---|---|---|{'---|' * len(shown)}",
    ]
    names = {name for _, each in shown for name in each.parts}
    none = Part(0, 0, 0)
    for name in sorted(names, key=lambda name: -max(each.parts.get(name, none).total for _, each in shown)):
        part = now.parts.get(name, none)
        cells = [f"{size / 1000:.0f}" for size in part]
        lines.append(row(name, [*cells, *(f"{each.parts.get(name, none).total / 1000:.0f}" for _, each in shown)]))
    if now.start:
        lines += [
            "",
            "## Start",
            "",
            "Importing what each process imports before it does anything, with compiled files: modules, and millions",
            "of instructions (callgrind, the kernel's not counted).",
            "",
            f"| process | {headed('modules', shown)} | {headed('instructions', shown)} |",
            f"|---|{'---|' * 2 * len(shown)}",
        ]
        for name in PROCESSES:
            cells = [str(each.start[name][0]) for _, each in shown]
            lines.append(row(name, [*cells, *(f"{each.start[name][1] / 1e6:.0f}" for _, each in shown)]))
    return "\n".join(lines) + "\n"


def headed(title: str, shown: list[tuple[str, Package]]) -> str:
    return " | ".join(f"{title} {name}".strip() for name, _ in shown)


def row(*cells: str | list[str]) -> str:
    flat = [cell for each in cells for cell in ([each] if isinstance(each, str) else each)]
    return f"| {' | '.join(flat)} |"


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
