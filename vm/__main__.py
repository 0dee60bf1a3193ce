"""`python -m vm`: builds the machine, runs the scenarios, each in a machine of its own, and writes the report.

python -m vm                    all of them
python -m vm short killed       these
python -m vm power_cut --cuts 100 --seed 7
python -m vm --list
"""

import argparse
import importlib
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType

from campaigns.runner import commit, machine
from vm import image, report, stick
from vm.bench import Bench, Failed, wall, work_folder
from vm.image import CACHE, ROOT, CannotBuild
from vm.machine import Gone, Machine, overlay

ORDER = (
    "install", "first_boot", "commission", "short", "killed", "stopped", "hung", "storm", "console", "footprint", "disk_full",
    "panic", "year_1970", "upgrade", "update", "purge", "power_cut",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Try the package in a virtual machine.")
    parser.add_argument("scenario", nargs="*", choices=[*ORDER, []], default=[])
    parser.add_argument("--cuts", type=int, default=100, help="hard kills in power_cut")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the machine goes with us
    if args.list:
        for name in ORDER:
            print(f"{name:12} {module_of(name).PROMISE}")
        return 0
    try:
        base, tools = image.base(), stick.make(package())
    except CannotBuild as problem:
        print(problem, file=sys.stderr)
        return 1
    found = report.load()
    found.machine = machine()
    good = True
    for name in args.scenario or ORDER:
        row = tried(name, base, tools, args)
        found.rows[name] = row
        report.save(found, list(ORDER))
        print(
            f"{name}: {'as promised' if not row.problem else 'NOT: ' + row.problem[-3000:]} ({row.wall_s:.0f} s)",
            flush=True,
        )
        for figure in row.figures:
            print(f"    {figure.what}: {figure.value:.4g} {figure.unit}", flush=True)
        good = good and not row.problem
    return 0 if good else 1


def tried(name: str, base: Path, tools: Path, args: argparse.Namespace) -> report.Row:
    module = module_of(name)
    begun = time.monotonic()
    shown: list[str] = []
    figures = []
    problem = ""
    try:
        bench = run_one(name, module, base, tools, args)
        shown, figures, problem = bench.shown, bench.figures, bench.problem
    except (Failed, Gone, CannotBuild, AssertionError) as error:
        problem = str(error) or repr(error)
    except Exception:
        problem = traceback.format_exc()
    return report.Row(
        name, module.PROMISE, wall(), commit(), time.monotonic() - begun, shown, figures, problem, args.seed
    )


def run_one(name: str, module: ModuleType, base: Path, tools: Path, args: argparse.Namespace) -> Bench:
    """Begins where `module.BEFORE` says: at a boot of the bare disk, or where another scenario has left the machine."""
    folder = work_folder(CACHE)
    disk = folder / f"{name}.qcow2"
    if module.BEFORE in ("base", "installed"):
        overlay(base if module.BEFORE == "base" else image.installed(package()), disk)
    else:
        left = CACHE / f"{module.BEFORE}.qcow2"
        if not left.exists():
            raise CannotBuild(f"{left.name}: first_boot and commission come first")
        shutil.copy(left, disk)
    settings = getattr(
        module, "MACHINE", {"snapshot": module.BEFORE} if module.BEFORE in ("booted", "charging") else {}
    )

    def boot(**settings: str) -> Machine:
        started = Machine(disk, folder, stick=tools, **settings)
        try:
            started.wait_up()
        except BaseException:
            started.kill()
            raise
        return started

    bench = Bench(boot(**settings))
    bench.boot, bench.random, bench.cuts = boot, random.Random(args.seed), args.cuts
    try:
        module.run(bench)
        if hasattr(module, "LEAVES"):
            bench.run("sync")
            bench.machine.keep(module.LEAVES)
            bench.machine.kill()
            shutil.copy(disk, CACHE / f"{module.LEAVES}.qcow2")
    except (Failed, Gone, AssertionError) as error:
        bench.problem = str(error) or repr(error)
    finally:
        bench.machine.kill()
        disk.unlink(missing_ok=True)
    return bench


def package() -> Path:
    found = sorted((ROOT / "dist").glob("cabinet_*_amd64.deb"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise CannotBuild("dist/cabinet_*_amd64.deb: is not there: make deb")
    return found[-1]


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"vm.scenarios.{name}")


if __name__ == "__main__":
    sys.exit(main())
