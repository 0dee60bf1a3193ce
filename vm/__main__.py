"""`python -m vm`: build the machine, run each scenario in a separate machine, and write the report.

python -m vm                    all of them
python -m vm short killed       these
python -m vm power_cut --cuts 100 --seed 7
python -m vm --arch arm64       all of them on that processor
python -m vm --release trixie install first_boot commission
python -m vm --list
"""

import argparse
import math
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from cabinet.clock import wall_time_is_synchronised
from campaigns.runner import commit, machine
from vm import report, stick
from vm.archive import run
from vm.container import Container, merged
from vm.guests import BOOKWORM, DEFAULT, GUESTS, TRIXIE, CannotBuild, Guest
from vm.harness import Failed, VmHarness, iso, wall, work_folder
from vm.image import DISK_MIB, base, installed, make_disk, package, put_modules_on
from vm.machine import Gone, Machine, flush, overlay
from vm.scenarios import ORDER, in_container, in_machine, module_of

M = TypeVar("M", Machine, Container)
OFF_S = 5  # time for which a restarted machine was off


def main() -> int:
    parser = argparse.ArgumentParser(description="Try the package in a virtual machine.")
    parser.add_argument("scenario", nargs="*", choices=[*ORDER, []], default=[])
    parser.add_argument(
        "--cuts", type=int, default=100, help="hard kills in charges in power_cut, and disks in disk_images"
    )
    parser.add_argument("--seed", type=int, default=1, help="of power_cut; each but 1 has a row of its own")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="not as promised where power_cut or disk_images take longer"
    )
    parser.add_argument("--arch", choices=("amd64", "arm64"), default="amd64", help="the machine's processor")
    parser.add_argument("--release", choices=(BOOKWORM.name, TRIXIE.name), default=BOOKWORM.name, help="of Debian")
    parser.add_argument("--container", action="store_true", help="systemd in a container, without kernel and devices")
    parser.add_argument("--kvm", action="store_true", help="the host's processor; rows of their own")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so the virtual machine is stopped too
    if args.list:
        for name in ORDER:
            print(f"{name:12} {module_of(name).PROMISE}")
        return 0
    guest = GUESTS.get(f"{args.release}-{args.arch}")
    if guest is None:
        print(f"{args.release} on {args.arch} is not among {', '.join(GUESTS)}", file=sys.stderr)
        return 1
    if args.kvm and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("/dev/kvm: cannot be opened: leave --kvm out, and the processor is emulated", file=sys.stderr)
        return 1
    try:
        disk, tools = base(guest), stick.make(package(guest), guest)
    except CannotBuild as problem:
        print(problem, file=sys.stderr)
        return 1
    good = True
    for name in args.scenario or [
        name for name in ORDER if (in_container(name) if args.container else in_machine(name, guest))
    ]:
        row = tried(name, guest, disk, tools, args)
        found = report.load()  # each time, because another run may be in progress
        found.machine = machine()
        (found.container if args.container else found.guests.setdefault(guest.name, {}))[row.name] = row
        report.save(found)
        print(
            f"{name}: {'as promised' if not row.problem else 'NOT: ' + row.problem[-3000:]} ({row.wall_s:.0f} s)",
            flush=True,
        )
        for figure in row.figures:
            print(f"    {figure.what}: {figure.value:.4g} {figure.unit}", flush=True)
        good = good and not row.problem
    return 0 if good else 1


def tried(name: str, guest: Guest, disk: Path, tools: Path, args: argparse.Namespace) -> report.Row:
    module = module_of(name)
    begun = time.monotonic()
    shown: list[str] = []
    figures = []
    problem = ""
    try:
        harness = run_one(name, module, guest, disk, tools, args)
        shown, figures, problem = harness.shown, harness.figures, harness.problem
    except (Failed, Gone, CannotBuild, AssertionError) as error:
        problem = str(error) or repr(error)
    except Exception:
        problem = traceback.format_exc()
    return report.Row(
        name
        + (f", {guest.release.title}" if args.container and guest != DEFAULT else "")
        + (", KVM" if args.kvm else "")
        + (f", seed {args.seed}" if args.seed != 1 else ""),
        module.PROMISE,
        wall(),
        commit(),
        time.monotonic() - begun,
        shown,
        figures,
        problem,
        args.seed,
    )


def run_one(
    name: str, module: ModuleType, guest: Guest, disk: Path, tools: Path, args: argparse.Namespace
) -> VmHarness:
    place = (
        InContainer(name, module, guest) if args.container else InMachine(name, module, guest, disk, tools, args.kvm)
    )
    harness = VmHarness(place.boot(**place.settings), place.boot, args.seed, guest)
    harness.change = place.change
    harness.cuts, harness.until_s = args.cuts, time.monotonic() + 60 * args.minutes
    try:
        module.run(harness)
        if hasattr(module, "LEAVES"):
            place.leave(harness, module.LEAVES)
    except (Failed, Gone, AssertionError) as error:
        harness.problem = str(error) or repr(error)
        keep_journal(harness, work_folder(guest.folder) / f"{name}.journal")
    finally:
        harness.machine.kill()
        place.clear()
    return harness


class InMachine:
    """Start of a scenario in a virtual machine: always a boot, from the disk that another scenario has left.

    It runs on an overlay: qemu keeps the tables of a qcow2 in memory until the machine flushes its disk. In an overlay
    every cluster is new, so a kill loses all unflushed data.
    """

    def __init__(self, name: str, module: ModuleType, guest: Guest, disk: Path, tools: Path, kvm: bool) -> None:
        self._guest, self._kvm = guest, kvm
        self._folder, self._tools = work_folder(guest.folder) / name, tools
        self._folder.mkdir(exist_ok=True)
        self._when: int | None = None
        self._disk, self._overlay = self._folder / "disk.qcow2", self._folder / "overlay.qcow2"
        self.clear()
        if module.BEFORE in ("base", "installed"):
            overlay(disk if module.BEFORE == "base" else installed(guest, package(guest)), self._disk)
        else:
            left, when = (guest.folder / f"{module.BEFORE}.{suffix}" for suffix in ("qcow2", "when"))
            if not left.exists() or not when.exists():
                raise CannotBuild(f"{left.name}: first_boot and commission come first")
            shutil.copy(left, self._disk)
            self._when = int(when.read_text())
        self.settings: dict[str, str] = getattr(module, "MACHINE", {})

    def boot(self, **settings: str) -> Machine:
        """Boot the disk again, at the time `wall` or, by default, `OFF_S` after the disk was left."""
        if self._when is not None:
            settings.setdefault("wall", iso(self._when + OFF_S))
        if self._overlay.exists():
            flush(self._overlay)
        overlay(self._disk, self._overlay)
        return up(Machine(self._guest, self._overlay, self._folder, stick=self._tools, kvm=self._kvm, **settings))

    def change(self, guest: Guest, change: Callable[[Path], None]) -> None:
        """Change the content of the disk while the machine is off; it boots as `guest` from now on."""
        base(guest)  # its kernel and modules
        flush(self._overlay)
        self._overlay.unlink()
        raw, mounted = self._folder / "changed.raw", self._folder / "mounted"
        run("qemu-img", "convert", "-O", "raw", self._disk, raw)
        mounted.mkdir(exist_ok=True)
        run("mount", "-o", "loop", raw, mounted)
        try:
            change(mounted)
            put_modules_on(mounted, guest)
        finally:
            run("umount", mounted)
        overlay(raw, self._disk)
        self._guest = guest

    def leave(self, harness: VmHarness, name: str) -> None:
        (self._guest.folder / f"{name}.when").write_text(harness.run("sync; date +%s"))
        harness.machine.kill()
        flush(self._overlay)
        shutil.copy(self._disk, self._guest.folder / f"{name}.qcow2")

    def clear(self) -> None:
        for path in (self._overlay, self._disk, self._folder / "changed.raw"):
            path.unlink(missing_ok=True)


class InContainer:
    """Start of a scenario in a container: always a boot, from the files another one has left, on a separate disk."""

    def __init__(self, name: str, module: ModuleType, guest: Guest) -> None:
        # A container has the host's clock. Under Debian 12 its units see the host's boot too, under 13 their own:
        # a session then goes on after a boot only if the clock is right.
        if guest != DEFAULT and not wall_time_is_synchronised():
            raise CannotBuild("this computer's clock is not synchronised: set it, then python vm/guest/synchronise.py")
        self.settings: dict[str, str] = {}
        self._guest = guest
        self._folder = work_folder(guest.folder) / "container"
        self._changes = self._folder / name
        left = guest.folder / "left" / {"booted": "installed"}.get(module.BEFORE, module.BEFORE)
        self._disk = self._folder.with_suffix(".raw")
        self.clear()
        self._folder.mkdir(parents=True)
        make_disk(None, self._disk, DISK_MIB)
        run("mount", "-o", "loop,noatime", self._disk, self._folder)
        if module.BEFORE != "base":
            if not left.exists():
                raise CannotBuild(f"{left}: the scenarios install and commission come first")
            run("cp", "-a", left, self._changes)

    def boot(self, **_: str) -> Container:
        return up(Container(self._guest.folder / "rootfs", self._changes, self._folder, self._guest.folder / "stick"))

    def change(self, _: Guest, change: Callable[[Path], None]) -> None:
        """Change the files while the container is off; the kernel is the host's before and after."""
        mounted = merged(self._guest.folder / "rootfs", self._changes, self._folder)
        try:
            change(mounted)
        finally:
            run("umount", mounted)

    def leave(self, harness: VmHarness, name: str) -> None:
        harness.machine.power_off()
        target = self._guest.folder / "left" / name
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        run("cp", "-a", self._changes, target)

    def clear(self) -> None:
        if self._folder.is_mount():
            run("umount", self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._disk.unlink(missing_ok=True)


def keep_journal(harness: VmHarness, target: Path) -> None:
    """Save the machine's journal after a failure, for the search of the cause."""
    try:
        target.write_text(harness.machine.run("journalctl -b -o short-monotonic --no-pager | tail -500", 60).out)
    except (Gone, AssertionError, OSError) as error:
        target.write_text(f"could not be read: {error}\n")


def up(started: M) -> M:
    """Wait until the machine is up, and return it. If it raises Gone, the machine is off again."""
    try:
        started.wait_up()
    except BaseException:
        started.kill()
        raise
    return started


if __name__ == "__main__":
    sys.exit(main())
