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


class UpdateRun:
    """One update, from any phase to its end. If even going back fails, CabinetError: the next start resumes it."""

    def __init__(self, system: Computer, records: UpdateFolder, clock: Clock, wait: Callable[[float], None]) -> None:
        self._system = system
        self._records = records
        self._clock = clock
        self._wait = wait

    def resume(self) -> UpdateRecord | None:
        """Resume the update under way in any phase, and bring it to its end; return None if there is none."""
        trial = self._records.load()
        return None if trial is None else self._read_only_again(self._to_its_end(trial))

    def _to_its_end(self, trial: UpdateRecord) -> UpdateRecord:
        if trial.phase is UpdatePhase.PREPARED and trial.boot_id == self._system.boot_id():
            return self._try_out(trial)
        verdict, why = verdict_at_boot(trial, self._system.boot_id())
        if verdict is TrialVerdict.GO_BACK:
            return self._go_back(trial, why)
        if verdict is TrialVerdict.KEEP:
            return self._end(trial, UpdatePhase.GONE_BACK, why)
        if trial.phase is UpdatePhase.TRIAL:
            return self._watch(trial)
        return self._end(trial, trial.phase, trial.why)

    def _try_out(self, trial: UpdateRecord) -> UpdateRecord:
        try:
            trial = self._made_writable(trial)
            with self._system.package_tools():
                found = sha256_of(self._records.new) if self._records.new.exists() else ""
                doubt = last_objection(trial, found, self._system.sessions())
                if not doubt:
                    trial = self._enter(trial, UpdatePhase.INSTALLING)
                    self._system.install(self._records.new)
        except CabinetError as error:
            if trial.phase is UpdatePhase.PREPARED:
                return self._end(trial, UpdatePhase.GONE_BACK, str(error))
            if self._old_is_there(trial):
                return self._end(trial, UpdatePhase.GONE_BACK, _with_problems(str(error), self._system.start()))
            return self._go_back(trial, str(error))
        if doubt:
            return self._end(trial, UpdatePhase.GONE_BACK, doubt)
        return self._watch(trial)

    def _watch(self, trial: UpdateRecord) -> UpdateRecord:
        """Observe and judge the trial. A watcher that was itself restarted counts the five minutes from the start."""
        begun_ns = self._clock.monotonic_ns()
        trial = self._enter(msgspec.structs.replace(trial, until_ns=begun_ns + TRIAL_S * NS), UpdatePhase.TRIAL)
        tested = False
        while True:
            down = self._system.down()
            failed: Sequence[str] = ()
            if not down and not tested:
                tested, failed = True, self._system.self_test()
            seen = Observation(
                since_s=(self._clock.monotonic_ns() - begun_ns) / NS,
                boot_id=self._system.boot_id(),
                down=down,
                restarted=self._system.restarted(),
                failed_tests=failed,
            )
            verdict, why = judge(trial, seen)
            if verdict is TrialVerdict.GO_BACK:
                return self._go_back(trial, why)
            if verdict is TrialVerdict.KEEP:
                return self._end(trial, UpdatePhase.KEPT, "")
            self._wait(LOOK_EVERY_S)

    def _go_back(self, trial: UpdateRecord, why: str) -> UpdateRecord:
        log.error("version %s goes, %s comes back: %s", trial.new, trial.old, why)
        trial = self._enter(trial, UpdatePhase.GOING_BACK, why)
        schema = self._system.schema()
        if not self._old_is_there(trial):
            trial = self._made_writable(trial)
            with self._system.package_tools():
                self._system.install(self._records.old)
        restore = restores_database(trial, schema, lambda: not self._system.self_test())
        if restore:
            try:
                self._system.restore(Path(trial.backup))
            except CabinetError:
                self._system.start()  # the units that can start: the next attempt is later
                raise
        why = _with_problems(why, [*self._system.start(), *self._system.self_test()])
        if restore:
            why += f"; the database is that of before the update ({trial.backup}), the other is kept beside it"
        return self._end(trial, UpdatePhase.GONE_BACK, why)

    def _old_is_there(self, trial: UpdateRecord) -> bool:
        """Return whether going back needs no installation: a second attempt must not stop guard and charges again."""
        return trial.new != trial.old and self._system.is_whole(trial.old)

    def _made_writable(self, trial: UpdateRecord) -> UpdateRecord:
        """Make file systems writable. A read-only root is so again after each boot: going back needs this too."""
        for place in self._system.read_only_places():
            trial = msgspec.structs.replace(trial, made_writable=(*trial.made_writable, place))
            self._records.save(trial)
            self._system.remount(place, "rw")
        return trial

    def _read_only_again(self, ended: UpdateRecord) -> UpdateRecord:
        """Make file systems read-only again, after the end is recorded: the program that follows the update runs from
        replaced files, and while it runs the file system is busy.
        """
        why = ended.why
        for place in dict.fromkeys(ended.made_writable):
            if problem := self._made_read_only(place):
                why = "; ".join(part for part in (why, f"{place} is writable still: {problem}") if part)
        return ended if why == ended.why else self._end(ended, ended.phase, why)

    def _made_read_only(self, place: str) -> str:
        """Remount, trying for a minute; return the problem, "" if it worked."""
        problem = ""
        for _ in range(READ_ONLY_TRIES):
            try:
                if place not in self._system.read_only_places():
                    self._system.remount(place, "ro")
                return ""
            except CabinetError as error:
                problem = str(error)
            self._wait(LOOK_EVERY_S)
        return problem

    def _enter(self, trial: UpdateRecord, phase: UpdatePhase, why: str = "") -> UpdateRecord:
        trial = msgspec.structs.replace(trial, phase=phase, why=why)
        self._records.save(trial)
        return trial

    def _end(self, trial: UpdateRecord, phase: UpdatePhase, why: str) -> UpdateRecord:
        trial = msgspec.structs.replace(trial, phase=phase, why=why)
        self._records.end(trial)
        return trial


def _with_problems(why: str, problems: Sequence[str]) -> str:
    """Add the old version's problems. It may always have had them: they are reported, and going back ends anyway."""
    return f"{why}; the old version runs, and says: {'; '.join(problems)}" if problems else why
