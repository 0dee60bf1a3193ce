"""Inspection of the installed version and of the bundles on the sticks, in small steps: reads, and changes nothing.

The origin of a stick's files is unknown. A file's name is only a name; its contents are not trusted, and hardly read,
before the signature of a trusted key is verified.
"""

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import CabinetError
from cabinet.system.steward import usb_drives
from cabinet.system.steward.machine import Machine, StewardError
from cabinet.system.steward.protocol import (
    BundleFound,
    DriveFound,
    InspectionItem,
    InspectionProgress,
    InstalledVersion,
)
from cabinet.system.steward.usb_drives import UsbDrive
from cabinet.system.update import bundle, survey, trial
from cabinet.system.update.bundle import NotABundle
from cabinet.system.update.computer import Computer
from cabinet.system.update.records import UpdateFolder

SUFFIX = ".bundle"
MAX_STICKS = 4
MAX_BUNDLES = 50  # per stick; the newest files
MAX_ENTRIES = 5000  # read of its folder
MAX_NAME = 120  # characters
MAX_CHANGED = 10  # files reported; one of them is enough to block an update
SLICE_NS = 400_000_000  # between two reports of progress: other clients wait meanwhile
MAX_INSPECTION_NS = 240 * NS  # the whole inspection: less than the lifetime of an unused login


class InspectionContext(msgspec.Struct, frozen=True):
    """Parts of this computer that an inspection needs."""

    machine: Machine
    system: Computer
    records: UpdateFolder
    keys: Path
    boot_id: str
    clock: Clock


def inspect_in_slices(context: InspectionContext) -> Iterator[InspectionItem]:
    """Yield every finding of `inspect_updates` at once, and of the progress between them one report a slice."""
    begun_ns = context.clock.monotonic_ns()
    with contextlib.closing(inspect_updates(context)) as inspection:
        for found in inspection:
            if not isinstance(found, InspectionProgress) or context.clock.monotonic_ns() - begun_ns >= SLICE_NS:
                yield found
                begun_ns = context.clock.monotonic_ns()


def inspect_updates(context: InspectionContext) -> Generator[InspectionItem, None, None]:
    """Yield the installed version, then each stick and its bundles. If closed early, unmount the stick in use."""
    until_ns = context.clock.monotonic_ns() + MAX_INSPECTION_NS
    surveyed, keys = yield from _surveyed(context, until_ns)
    yield surveyed
    here = None if surveyed.computer is None else surveyed.computer.version
    for stick in usb_drives.find_drives(context.machine)[:MAX_STICKS]:
        yield from _stick(context, stick, keys, here, until_ns)


# --- installed version -----------------------------------------------------------------------------------------------


def _surveyed(
    context: InspectionContext, until_ns: int
) -> Generator[InspectionItem, None, tuple[InstalledVersion, bundle.Keys]]:
    problems: list[str] = []
    computer: trial.ComputerFacts | None = None
    keys: bundle.Keys = {}
    under_way = last = None
    try:
        under_way, last = context.records.load(), context.records.last()
        changed = yield from _compared(context, until_ns)
        computer = survey.collect_facts(context.system, context.records, changed[:MAX_CHANGED])
    except CabinetError as error:
        problems.append(str(error))
    try:
        keys = survey.trusted_keys(context.keys)
    except CabinetError as error:
        problems.append(str(error))
    left_s = None if under_way is None else under_way.left_s(context.boot_id, context.clock.monotonic_ns())
    return InstalledVersion(computer, under_way, left_s, last, problems), keys


def _compared(context: InspectionContext, until_ns: int) -> Generator[InspectionItem, None, Sequence[str]]:
    """Return the changed files, within the time limit: a dying card may take forever to read the installed ones."""
    with contextlib.closing(context.system.comparing()) as steps:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: Sequence[str] = end.value
                return found
            if context.clock.monotonic_ns() >= until_ns:
                raise StewardError("comparing the installed files takes too long: is the card dying?")
            yield InspectionProgress()


# --- one stick -------------------------------------------------------------------------------------------------------


def _stick(
    context: InspectionContext, stick: UsbDrive, keys: bundle.Keys, here: str | None, until_ns: int
) -> Iterator[InspectionItem]:
    place = "" if stick.place is None else str(stick.place)
    try:
        with usb_drives.mounted(context.machine, stick) as folder:
            names, more = yield from _names(folder)
            yield DriveFound(stick.device, place, len(names), more)
            for name in names:
                yield from _bundle(context, folder / name, keys, here, until_ns)
    except (StewardError, OSError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        yield DriveFound(stick.device, place, problem=why)


def _names(folder: Path) -> Generator[InspectionItem, None, tuple[list[str], int]]:
    """Return the names of the bundles, newest first, and how many more there are. Links count: they are reported."""
    found: list[tuple[float, str]] = []
    with os.scandir(folder) as entries:
        for seen, entry in enumerate(entries, 1):
            if entry.name.lower().endswith(SUFFIX):
                found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
            if seen >= MAX_ENTRIES:
                break
            yield InspectionProgress()
    found.sort(key=lambda each: (-each[0], each[1]))
    return [name for _, name in found[:MAX_BUNDLES]], max(0, len(found) - MAX_BUNDLES)


def _bundle(
    context: InspectionContext, path: Path, keys: bundle.Keys, here: str | None, until_ns: int
) -> Iterator[InspectionItem]:
    name, good = _shown(path.name)
    seen = BundleFound(name)
    try:
        if not good:
            yield msgspec.structs.replace(seen, wrong="name")
            return
        if not path.is_symlink() and path.exists() and not path.is_file():  # opening a device may have side effects
            yield msgspec.structs.replace(seen, wrong="not_a_file")
            return
        with bundle.opened(path, os.O_NOFOLLOW) as file:
            signed = bundle.sealed(file, keys)
            manifest = signed.manifest
            seen = BundleFound(name, manifest, signed.signer)
            if here is not None:
                seen = msgspec.structs.replace(seen, age=survey.age(context.system, manifest.version, here))
            for done in bundle.through(file, manifest):
                if context.clock.monotonic_ns() >= until_ns:
                    yield msgspec.structs.replace(seen, wrong="late")
                    return
                yield InspectionProgress(name, done, manifest.size)
        yield seen
    except NotABundle as error:
        wrong = "not_a_file" if path.is_symlink() else error.wrong
        yield msgspec.structs.replace(seen, wrong=wrong, why=str(error).removeprefix(f"{path}: "))


def _shown(name: str) -> tuple[str, bool]:
    """Return a file's name in a form safe for a terminal, and whether it is the unchanged name."""
    text = os.fsencode(name).decode("utf-8", "replace")
    shown = "".join(each if each.isprintable() else "?" for each in text)[:MAX_NAME]
    return shown, shown == name
