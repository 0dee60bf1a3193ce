"""Inspection of the installed version and of the bundles on the sticks, in small steps: reads, and changes nothing.

The origin of a stick's files is unknown. A file's name is only a name; its contents are not trusted, and hardly read,
before the signature of a trusted key is verified.
"""

import contextlib
import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import CabinetError
from cabinet.system.steward import usb_drives
from cabinet.system.steward.machine import Machine, StewardError
from cabinet.system.steward.protocol import Answer, BundleSeen, CheckUpdates, Done, Found, Looking, StickSeen, Surveyed
from cabinet.system.steward.usb_drives import Stick
from cabinet.system.update import bundle, survey, trial
from cabinet.system.update.bundle import NotABundle
from cabinet.system.update.records import Records

log = logging.getLogger(__name__)

SUFFIX = ".bundle"
MAX_STICKS = 4
MAX_BUNDLES = 50  # per stick; the newest files
MAX_ENTRIES = 5000  # read of its folder
MAX_NAME = 120  # characters
MAX_CHANGED = 10  # files reported; one of them is enough to block an update
SLICE_NS = 400_000_000  # of one answer: other clients, and the console too, wait meanwhile
WITHIN_NS = 240 * NS  # the whole inspection: less than the lifetime of an unused login
PATIENCE_NS = 20 * NS  # if no request comes, the inspection ends and the stick is unmounted


class Bench(msgspec.Struct, frozen=True):
    """Parts of this computer that an inspection needs."""

    machine: Machine
    system: survey.System
    records: Records
    keys: Path
    boot_id: str
    clock: Clock


class Updates:
    """One inspection at a time; a new one ends the previous one."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._look: Generator[Found, None, None] | None = None
        self._asked_ns = 0

    def answer(self, request: CheckUpdates) -> Answer:
        """Return the next answer. Raises CabinetError; the inspection is then over."""
        if request.step != "next":
            self.close()
        if request.step == "begin":
            self._look = look(self._bench)
        return self._go_on()

    def turn(self) -> None:
        """End an abandoned inspection; called every few seconds, because the client may leave without notice."""
        if self._look is not None and self._bench.clock.monotonic_ns() - self._asked_ns >= PATIENCE_NS:
            log.warning("nobody goes on with the look at the sticks: it is over")
            self.close()

    def close(self) -> None:
        """End the inspection; close and unmount everything it uses."""
        under_way, self._look = self._look, None
        if under_way is not None:
            under_way.close()

    def _go_on(self) -> Answer:
        """Continue until there is a finding, or until the slice is over."""
        clock = self._bench.clock
        begun_ns = self._asked_ns = clock.monotonic_ns()
        if self._look is None:
            return Done()
        try:
            for found in self._look:
                if not isinstance(found, Looking) or clock.monotonic_ns() - begun_ns >= SLICE_NS:
                    self._asked_ns = clock.monotonic_ns()
                    return found
        except BaseException:
            self.close()
            raise
        self.close()
        return Done()


def look(bench: Bench) -> Generator[Found, None, None]:
    """Yield the installed version, then each stick and its bundles. If closed early, unmount the stick in use."""
    until_ns = bench.clock.monotonic_ns() + WITHIN_NS
    surveyed, keys = yield from _surveyed(bench, until_ns)
    yield surveyed
    here = None if surveyed.computer is None else surveyed.computer.version
    for stick in usb_drives.sticks(bench.machine)[:MAX_STICKS]:
        yield from _stick(bench, stick, keys, here, until_ns)


# --- installed version -----------------------------------------------------------------------------------------------


def _surveyed(bench: Bench, until_ns: int) -> Generator[Found, None, tuple[Surveyed, bundle.Keys]]:
    problems: list[str] = []
    computer: trial.Computer | None = None
    keys: bundle.Keys = {}
    under_way = last = None
    try:
        under_way, last = bench.records.load(), bench.records.last()
        computer = yield from _in_time(bench, until_ns)
        computer = msgspec.structs.replace(computer, changed_files=computer.changed_files[:MAX_CHANGED])
    except CabinetError as error:
        problems.append(str(error))
    try:
        keys = survey.trusted(bench.keys)
    except CabinetError as error:
        problems.append(str(error))
    left_s = None if under_way is None else under_way.left_s(bench.boot_id, bench.clock.monotonic_ns())
    return Surveyed(computer, under_way, left_s, last, problems), keys


def _in_time(bench: Bench, until_ns: int) -> Generator[Found, None, trial.Computer]:
    """Survey the computer within the time limit: a dying card may take forever to read the installed files."""
    steps = survey.survey(bench.system, bench.records)
    with contextlib.closing(steps):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: trial.Computer = end.value
                return found
            if bench.clock.monotonic_ns() >= until_ns:
                raise StewardError("comparing the installed files takes too long: is the card dying?")
            yield Looking()


# --- one stick -------------------------------------------------------------------------------------------------------


def _stick(bench: Bench, stick: Stick, keys: bundle.Keys, here: str | None, until_ns: int) -> Iterator[Found]:
    place = "" if stick.place is None else str(stick.place)
    try:
        with usb_drives.readable(bench.machine, stick) as folder:
            names, more = yield from _names(folder)
            yield StickSeen(stick.device, place, len(names), more)
            for name in names:
                yield from _bundle(bench, folder / name, keys, here, until_ns)
    except (StewardError, OSError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        yield StickSeen(stick.device, place, problem=why)


def _names(folder: Path) -> Generator[Found, None, tuple[list[str], int]]:
    """Return the names of the bundles, newest first, and how many more there are. Links count: they are reported."""
    found: list[tuple[float, str]] = []
    with os.scandir(folder) as entries:
        for seen, entry in enumerate(entries, 1):
            if entry.name.lower().endswith(SUFFIX):
                found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
            if seen >= MAX_ENTRIES:
                break
            yield Looking()
    found.sort(key=lambda each: (-each[0], each[1]))
    return [name for _, name in found[:MAX_BUNDLES]], max(0, len(found) - MAX_BUNDLES)


def _bundle(bench: Bench, path: Path, keys: bundle.Keys, here: str | None, until_ns: int) -> Iterator[Found]:
    name, good = _shown(path.name)
    seen = BundleSeen(name)
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
            seen = BundleSeen(name, manifest, signed.signer)
            if here is not None:
                seen = msgspec.structs.replace(seen, age=survey.age(bench.system, manifest.version, here))
            for done in bundle.through(file, manifest):
                if bench.clock.monotonic_ns() >= until_ns:
                    yield msgspec.structs.replace(seen, wrong="late")
                    return
                yield Looking(name, done, manifest.size)
        yield seen
    except NotABundle as error:
        wrong = "not_a_file" if path.is_symlink() else error.wrong
        yield msgspec.structs.replace(seen, wrong=wrong, why=str(error).removeprefix(f"{path}: "))


def _shown(name: str) -> tuple[str, bool]:
    """Return a file's name in a form safe for a terminal, and whether it is the unchanged name."""
    text = os.fsencode(name).decode("utf-8", "replace")
    shown = "".join(each if each.isprintable() else "?" for each in text)[:MAX_NAME]
    return shown, shown == name
