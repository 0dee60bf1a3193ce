"""`python -m vm.arm64_root`: the arm64 package in an arm64 Debian under user emulation, in minutes.

Every module is imported, the simulated cabinet runs with all its processes, `check`, `usage export` and `failsafe` do
their work, and a slice of the unit tests runs against the installed package. Programs are those of an arm64 Debian;
the kernel is the host's, so neither units nor devices are tested: `python -m vm --arch arm64` does that.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from campaigns.runner import commit, machine
from vm import report
from vm.archive import run
from vm.guests import ARM64, BOOKWORM, CACHE, ROOT, TRIXIE, CannotBuild, Guest
from vm.harness import Figure, wall
from vm.image import in_system, package, system
from vm.kernel import can_run

RELEASES = {release.name: release for release in (BOOKWORM, TRIXIE)}
PROMISE = "installs, imports every module, checks, runs, exports, opens everything, passes a slice of its unit tests"
SLICE = (
    "test_charge.py", "test_metering.py", "guard/test_interlocks.py", "hardware", "link", "billing/test_tariff.py",
)  # fmt: skip
TEST_TOOLS = ("pytest", "hypothesis")
PYTHON = "/usr/lib/cabinet/bin/python3"
IMPORTS = """
import importlib, pkgutil, json, cabinet
names = [module.name for module in pkgutil.walk_packages(cabinet.__path__, "cabinet.") if "__main__" not in module.name]
failed = {}
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
print(json.dumps([len(names), failed]))
"""
CABINET_RUNS_S = 900.0


class Check:
    """The installed package in its root, with the results so far."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.root = guest.folder / "check"
        self.shown: list[str] = []
        self.figures: list[Figure] = []

    def inside(self, *command: str) -> str:
        """Run a command in the root. Raises CannotBuild with its last words if it fails."""
        return run("chroot", self.root, *command)

    def timed(self, what: str, act: Callable[[], str]) -> None:
        """Do one step: its result is a line of the report. Raises CannotBuild if it fails."""
        begun = time.monotonic()
        said = act()
        self.shown.append(f"{what}: {said}")
        self.figures.append(Figure(what, time.monotonic() - begun, "s", None))
        print(f"{what}: {said} ({time.monotonic() - begun:.0f} s)", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the arm64 package under user emulation.")
    parser.add_argument("--release", choices=sorted(RELEASES), default=BOOKWORM.name, help="of Debian")
    guest = Guest(RELEASES[parser.parse_args().release], ARM64)
    begun, problem = time.monotonic(), ""
    check = Check(guest)
    try:
        can_run(ARM64.arch)
        CACHE.mkdir(parents=True, exist_ok=True)
        system(guest)
        begun = time.monotonic()
        check_all(check)
    except CannotBuild as error:
        problem = str(error)
        print(problem, file=sys.stderr)
    row = report.Row(
        guest.title, PROMISE, wall(), commit(), time.monotonic() - begun, check.shown, check.figures, problem
    )
    found = report.load()
    found.machine = machine()
    found.emulated[row.name] = row
    report.save(found)
    return 1 if problem else 0


def check_all(check: Check) -> None:
    check.timed("installed by dpkg", lambda: install(check))
    check.timed("modules imported", lambda: imports(check))
    example = "/usr/share/doc/cabinet/examples/cabinet.toml"
    check.timed("cabinet check of the example", lambda: check.inside("cabinet", "check", example).strip())
    check.timed("the simulated cabinet, all processes", lambda: runs(check))
    check.timed("unit tests", lambda: unit_tests(check))


def install(check: Check) -> str:
    shutil.rmtree(check.root, ignore_errors=True)
    run("cp", "-a", check.guest.folder / "rootfs", check.root)
    shutil.copy(package(check.guest), check.root / "cabinet.deb")
    in_system(check.root, ARM64.arch, "dpkg", "--force-unsafe-io", "-i", "/cabinet.deb")
    return check.inside("cabinet", "--version").strip()


def imports(check: Check) -> str:
    count, failed = json.loads(check.inside(PYTHON, "-c", IMPORTS))
    if failed:
        raise CannotBuild(f"{len(failed)} of {count} modules cannot be imported: {failed}")
    return str(count)


def runs(check: Check) -> str:
    """Start the simulated cabinet, export from it, open everything, and end it."""
    for name in ("proc", "dev"):
        run("mount", "--rbind" if name == "dev" else "--bind", f"/{name}", check.root / name)
    command: list[str | Path] = ["chroot", check.root, "cabinet", "run", "--state", "/var/demo", "--port", "0"]
    try:
        with (check.root / "run.log").open("w") as log:
            cabinet = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            try:
                return used(check, cabinet)
            finally:
                cabinet.terminate()
                cabinet.wait(120)
    finally:
        run("umount", "-R", check.root / "dev", check.root / "proc")


def used(check: Check, cabinet: subprocess.Popen[bytes]) -> str:
    url, deadline = check.root / "var/demo/run/service/service.url", time.monotonic() + CABINET_RUNS_S
    while not (url.exists() and url.stat().st_size):
        if cabinet.poll() is not None or time.monotonic() > deadline:
            raise CannotBuild(f"the cabinet does not run: {(check.root / 'run.log').read_text()[-1500:]}")
        time.sleep(0.5)
    config = ("--config", "/var/demo/cabinet.toml")
    exported = check.inside("cabinet", "usage", "export", "--format", "jsonl", *config).splitlines()
    check.inside("cabinet", "usage", "verify", *config)
    opened = check.inside("cabinet", "failsafe", *config).strip()
    return f"{len(exported)} charges exported and verified; failsafe: {opened}"


def unit_tests(check: Check) -> str:
    """Run tests of the source tree, copied without the product, against the installed package."""
    tests = check.root / "source"
    shutil.rmtree(tests, ignore_errors=True)
    tests.mkdir()
    run("sh", "-c", f"git ls-files -z ':!cabinet' | tar -c --null -T - | tar -x -C {tests}", cwd=ROOT)
    uv = Path(sys.executable).with_name("uv")
    platform = ("--python-platform", "aarch64-manylinux_2_36", "--python-version", check.guest.release.python)
    options = ("--quiet", "--only-binary", ":all:", "--target", tests / "test-tools")
    run(uv, "pip", "install", *options, *platform, *TEST_TOOLS)
    files = " ".join(f"tests/unit/{name}" for name in SLICE)
    # A dependency of the product has a plugin for pytest whose own dependency is in no package.
    environment = "PYTHONPATH=.:test-tools PYTEST_DISABLE_PLUGIN_AUTOLOAD=1"
    pytest = f"cd /source && {environment} {PYTHON} -m pytest -q -p no:cacheprovider {files}"
    said = check.inside("sh", "-c", pytest)
    (summary,) = re.findall(r"^(\d+ passed.*?)(?: in .*)?$", said, re.MULTILINE)
    return str(summary)


if __name__ == "__main__":
    sys.exit(main())
