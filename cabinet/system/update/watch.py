"""One update from its installation to its end, by a copy of the old version: install, observe, keep or go back."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import CabinetError
from cabinet.system.update.bundle import sha256_of
from cabinet.system.update.computer import Computer
from cabinet.system.update.records import UpdateFolder
from cabinet.system.update.trial import (
    LOOK_EVERY_S,
    TRIAL_S,
    Observation,
    TrialVerdict,
    UpdatePhase,
    UpdateRecord,
    judge,
    last_objection,
    restores_database,
    verdict_at_boot,
)

READ_ONLY_TRIES = 12

log = logging.getLogger(__name__)


def resume_update(
    system: Computer, records: UpdateFolder, clock: Clock, wait: Callable[[float], None]
) -> UpdateRecord | None:
    """Resume the update under way in any phase, and bring it to its end; return None if there is none.

    Raises CabinetError if even going back fails: the next start resumes it.
    """
    trial = records.load()
    if trial is None:
        return None
    return _read_only_again(system, records, _to_its_end(system, records, trial, clock, wait), wait)


def _to_its_end(
    system: Computer, records: UpdateFolder, trial: UpdateRecord, clock: Clock, wait: Callable[[float], None]
) -> UpdateRecord:
    if trial.phase is UpdatePhase.PREPARED and trial.boot_id == system.boot_id():
        return _try_out(system, records, trial, clock, wait)
    verdict, why = verdict_at_boot(trial, system.boot_id())
    if verdict is TrialVerdict.GO_BACK:
        return _go_back(system, records, trial, why)
    if verdict is TrialVerdict.KEEP:
        return _end(records, trial, UpdatePhase.GONE_BACK, why)
    if trial.phase is UpdatePhase.TRIAL:
        return _watch(system, records, trial, clock, wait)
    return _end(records, trial, trial.phase, trial.why)


def _try_out(
    system: Computer, records: UpdateFolder, trial: UpdateRecord, clock: Clock, wait: Callable[[float], None]
) -> UpdateRecord:
    try:
        trial = _made_writable(system, records, trial)
        with system.package_tools():
            found = sha256_of(records.new) if records.new.exists() else ""
            doubt = last_objection(trial, found, system.sessions())
            if not doubt:
                trial = _enter(records, trial, UpdatePhase.INSTALLING)
                system.install(records.new)
    except CabinetError as error:
        if trial.phase is UpdatePhase.PREPARED:
            return _end(records, trial, UpdatePhase.GONE_BACK, str(error))
        if _old_is_there(system, trial):
            return _end(records, trial, UpdatePhase.GONE_BACK, _with_problems(str(error), system.start()))
        return _go_back(system, records, trial, str(error))
    if doubt:
        return _end(records, trial, UpdatePhase.GONE_BACK, doubt)
    return _watch(system, records, trial, clock, wait)


def _watch(
    system: Computer, records: UpdateFolder, trial: UpdateRecord, clock: Clock, wait: Callable[[float], None]
) -> UpdateRecord:
    """Observe and judge the trial. A watcher that was itself restarted counts the five minutes from the start."""
    begun_ns = clock.monotonic_ns()
    trial = _enter(records, msgspec.structs.replace(trial, until_ns=begun_ns + TRIAL_S * NS), UpdatePhase.TRIAL)
    tested = False
    while True:
        down = system.down()
        failed: Sequence[str] = ()
        if not down and not tested:
            tested, failed = True, system.self_test()
        seen = Observation(
            since_s=(clock.monotonic_ns() - begun_ns) / NS,
            boot_id=system.boot_id(),
            down=down,
            restarted=system.restarted(),
            failed_tests=failed,
        )
        verdict, why = judge(trial, seen)
        if verdict is TrialVerdict.GO_BACK:
            return _go_back(system, records, trial, why)
        if verdict is TrialVerdict.KEEP:
            return _end(records, trial, UpdatePhase.KEPT, "")
        wait(LOOK_EVERY_S)


def _go_back(system: Computer, records: UpdateFolder, trial: UpdateRecord, why: str) -> UpdateRecord:
    log.error("version %s goes, %s comes back: %s", trial.new, trial.old, why)
    trial = _enter(records, trial, UpdatePhase.GOING_BACK, why)
    schema = system.schema()
    if not _old_is_there(system, trial):
        trial = _made_writable(system, records, trial)
        with system.package_tools():
            system.install(records.old)
    restore = restores_database(trial, schema, lambda: not system.self_test())
    if restore:
        try:
            system.restore(Path(trial.backup))
        except CabinetError:
            system.start()  # the units that can start: the next attempt is later
            raise
    why = _with_problems(why, [*system.start(), *system.self_test()])
    if restore:
        why += f"; the database is that of before the update ({trial.backup}), the other is kept beside it"
    return _end(records, trial, UpdatePhase.GONE_BACK, why)


def _old_is_there(system: Computer, trial: UpdateRecord) -> bool:
    """Return whether going back needs no installation: a second attempt must not stop guard and charges again."""
    return trial.new != trial.old and system.is_whole(trial.old)


def _with_problems(why: str, problems: Sequence[str]) -> str:
    """Add the old version's problems. It may always have had them: they are reported, and going back ends anyway."""
    return f"{why}; the old version runs, and says: {'; '.join(problems)}" if problems else why


def _made_writable(system: Computer, records: UpdateFolder, trial: UpdateRecord) -> UpdateRecord:
    """Make file systems writable. A read-only root is read-only again after each boot: going back needs this too."""
    for place in system.read_only_places():
        trial = msgspec.structs.replace(trial, made_writable=(*trial.made_writable, place))
        records.save(trial)
        system.remount(place, "rw")
    return trial


def _read_only_again(
    system: Computer, records: UpdateFolder, ended: UpdateRecord, wait: Callable[[float], None]
) -> UpdateRecord:
    """Make file systems read-only again, after the end is recorded: the program that follows the update runs from
    replaced files, and while it runs the file system is busy.
    """
    why = ended.why
    for place in dict.fromkeys(ended.made_writable):
        if problem := _made_read_only(system, place, wait):
            why = "; ".join(part for part in (why, f"{place} is writable still: {problem}") if part)
    return ended if why == ended.why else _end(records, ended, ended.phase, why)


def _made_read_only(system: Computer, place: str, wait: Callable[[float], None]) -> str:
    """Remount, trying for a minute; return the problem, "" if it worked."""
    problem = ""
    for _ in range(READ_ONLY_TRIES):
        try:
            if place not in system.read_only_places():
                system.remount(place, "ro")
            return ""
        except CabinetError as error:
            problem = str(error)
        wait(LOOK_EVERY_S)
    return problem


def _enter(records: UpdateFolder, trial: UpdateRecord, phase: UpdatePhase, why: str = "") -> UpdateRecord:
    trial = msgspec.structs.replace(trial, phase=phase, why=why)
    records.save(trial)
    return trial


def _end(records: UpdateFolder, trial: UpdateRecord, phase: UpdatePhase, why: str) -> UpdateRecord:
    trial = msgspec.structs.replace(trial, phase=phase, why=why)
    records.end(trial)
    return trial
