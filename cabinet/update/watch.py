"""One update from its installation to its end, by the old version's own copy: install, look, keep or go back."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from cabinet.clock import NS, Clock
from cabinet.errors import CabinetError
from cabinet.update.records import Records
from cabinet.update.trial import (
    LOOK_EVERY_S,
    TRIAL_S,
    Observation,
    Phase,
    Trial,
    Verdict,
    at_boot,
    judge,
    restores_database,
)

log = logging.getLogger(__name__)


class System(Protocol):
    """What is done to the computer."""

    def boot_id(self) -> str: ...

    def install(self, package: Path) -> None:
        """Put it in place of what is installed, and start the units. Raises CabinetError."""

    def down(self) -> Sequence[str]:
        """The units that should run and do not."""

    def restarted(self) -> Sequence[str]:
        """The units that had to be started again by themselves since they were installed."""

    def self_test(self) -> Sequence[str]:
        """What the installed version finds wrong with itself, its configuration and its database."""

    def schema(self) -> int | None:
        """Of the database; None where there is none that can be read."""

    def restore(self, backup: Path) -> None:
        """Put it in place of the database, which is kept beside; the units are stopped for it. Raises CabinetError."""

    def start(self) -> None:
        """Start the units."""


def see_through(system: System, records: Records, clock: Clock, wait: Callable[[float], None]) -> Trial | None:
    """Take up the update that is under way, wherever it is, and bring it to its end; None where there is none.

    Raises CabinetError where even going back fails: the next start of this takes it up again.
    """
    trial = records.load()
    if trial is None:
        return None
    if trial.phase is Phase.PREPARED and trial.boot_id == system.boot_id():
        return _try_out(system, records, trial, clock, wait)
    verdict, why = at_boot(trial, system.boot_id())
    if verdict is Verdict.GO_BACK:
        return _go_back(system, records, trial, why)
    if verdict is Verdict.KEEP:
        return _end(records, trial, Phase.GONE_BACK, why)
    if trial.phase is Phase.TRIAL:
        return _watch(system, records, trial, clock, wait)
    return _end(records, trial, trial.phase, trial.why)


def _try_out(system: System, records: Records, trial: Trial, clock: Clock, wait: Callable[[float], None]) -> Trial:
    trial = _enter(records, trial, Phase.INSTALLING)
    try:
        system.install(records.new)
    except CabinetError as error:
        return _go_back(system, records, trial, str(error))
    return _watch(system, records, trial, clock, wait)


def _watch(system: System, records: Records, trial: Trial, clock: Clock, wait: Callable[[float], None]) -> Trial:
    """A watcher that was itself started again counts the five minutes anew."""
    begun_ns = clock.monotonic_ns()
    trial = _enter(records, msgspec.structs.replace(trial, until_ns=begun_ns + TRIAL_S * NS), Phase.TRIAL)
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
        if verdict is Verdict.GO_BACK:
            return _go_back(system, records, trial, why)
        if verdict is Verdict.KEEP:
            return _end(records, trial, Phase.KEPT, "")
        wait(LOOK_EVERY_S)


def _go_back(system: System, records: Records, trial: Trial, why: str) -> Trial:
    log.error("version %s goes, %s comes back: %s", trial.new, trial.old, why)
    trial = _enter(records, trial, Phase.GOING_BACK, why)
    restore = restores_database(trial, system.schema())
    system.install(records.old)
    if restore:
        system.restore(Path(trial.backup))
    system.start()
    if problems := system.self_test():
        why += f"; the old version is back, and says: {'; '.join(problems)}"
    if restore:
        why += f"; the database is that of before the update ({trial.backup}), the other is kept beside it"
    return _end(records, trial, Phase.GONE_BACK, why)


def _enter(records: Records, trial: Trial, phase: Phase, why: str = "") -> Trial:
    trial = msgspec.structs.replace(trial, phase=phase, why=why)
    records.save(trial)
    return trial


def _end(records: Records, trial: Trial, phase: Phase, why: str) -> Trial:
    trial = msgspec.structs.replace(trial, phase=phase, why=why)
    records.end(trial)
    return trial
