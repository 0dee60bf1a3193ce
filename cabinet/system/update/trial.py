"""Decisions of an update: install a bundle now, keep the new version or go back. Pure: the facts are arguments.

A new version is on trial for five minutes. The old version judges it, from a copy of its own files: a new version
that cannot even start could not remove itself.
"""

import enum
from collections.abc import Callable, Sequence

import msgspec

from cabinet.clock import NS
from cabinet.system.update.bundle import Manifest

TRIAL_S = 300
READY_WITHIN_S = 120  # after the installation, the units must run or the trial ends
LOOK_EVERY_S = 5
SPARE = 64 << 20  # bytes that stay free for charges meanwhile and for the copy of the database


class ComputerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about the computer. `sessions`: running now, None if unknown; `free` and `installed` (the present version's
    files) in bytes. Facts that a survey leaves open (`newer`, `sessions`) block the update until they are known.
    """

    architecture: str
    python: str
    version: str
    free: int
    installed: int
    changed_files: Sequence[str]  # of the installed version
    on_trial: str | None  # a version that is already on trial
    switched_off: bool = False  # everything, by hand: no guard runs, and none can be tried
    newer: bool = False  # the bundle's version is newer than `version`, in the order of dpkg
    sessions: int | None = None


class InstallOptions(msgspec.Struct, frozen=True):
    """Options that the person at the keyboard has accepted beforehand."""

    during_sessions: bool = False
    older: bool = False


class Objection(msgspec.Struct, frozen=True):
    """One reason against installing; `wording.objection_text` returns its text."""

    code: str
    params: dict[str, str | int] = {}


def objections(manifest: Manifest, computer: ComputerFacts, asked: InstallOptions) -> list[Objection]:
    """Return the reasons not to install now; empty if there are none."""
    found = []

    def against(code: str, **params: str | int) -> None:
        found.append(Objection(code, params))

    if computer.on_trial is not None:
        against("on_trial", version=computer.on_trial)
    if manifest.architecture != computer.architecture:
        against("architecture", needed=manifest.architecture, here=computer.architecture)
    if computer.python not in manifest.python.split():
        against("python", needed=manifest.python, here=computer.python)
    if not computer.newer and not asked.older:
        against("not_newer", version=manifest.version, here=computer.version)
    if computer.sessions is None and not asked.during_sessions:
        against("sessions_unknown")
    elif computer.sessions and not asked.during_sessions:
        if computer.sessions == 1:
            against("session_runs")
        else:
            against("sessions_run", count=computer.sessions)
    if computer.free < (needed := required_bytes(manifest, computer)):
        against("no_room", free=computer.free >> 20, needed=needed >> 20)
    if computer.switched_off:
        against("switched_off")
    if computer.changed_files:
        against("changed_files", file=computer.changed_files[0])
    return found


def fits(manifest: Manifest, computer: ComputerFacts) -> bool:
    """Return whether the bundle fits this computer at all, now or later."""
    return manifest.architecture == computer.architecture and computer.python in manifest.python.split()


def required_bytes(manifest: Manifest, computer: ComputerFacts) -> int:
    """Return the bytes that must be free: the new package, the present version as files and as a package, a spare."""
    return manifest.size + 2 * computer.installed + SPARE


class UpdatePhase(enum.Enum):
    """Progress of an update; written to disk before the next step begins."""

    PREPARED = "prepared"
    INSTALLING = "installing"
    TRIAL = "on trial"
    GOING_BACK = "going back"
    KEPT = "kept"
    GONE_BACK = "gone back"


class UpdateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Record of one update, kept across a restart of the computer."""

    old: str
    new: str
    phase: UpdatePhase
    boot_id: str
    schema: int | None  # of the database before the update; None: there was none
    backup: str = ""  # the database before the update
    why: str = ""
    until_ns: int | None = None  # end of the trial if all goes well, on the clock of that boot
    sha256: str = ""  # of the new package, as signed; "" in the record of a version that stored none
    during_sessions: bool = False  # requested; if not, charges that begin before the installation block it
    made_writable: tuple[str, ...] = ()  # file systems to make read-only again at the end

    def left_s(self, boot_id: str, now_ns: int) -> int | None:
        """Return the seconds left of the trial; None if there is no trial now, or if they are unknown."""
        if self.phase is not UpdatePhase.TRIAL or self.until_ns is None or self.boot_id != boot_id:
            return None
        return max(0, (self.until_ns - now_ns) // NS)


def last_objection(trial: UpdateRecord, sha256: str, sessions: int | None) -> str:
    """Return why it is not installed after all, checked directly before the installation; "" if it may be.

    Minutes pass between the signature check and this check. `sha256` of the package on disk, `sessions` running now.
    """
    if trial.sha256 and sha256 != trial.sha256:
        return "the package is not the one that was signed any more: nothing was changed"
    if trial.during_sessions or sessions == 0:
        return ""
    if sessions is None:
        return "whether charges run could not be said: nothing was changed"
    return f"charges have begun meanwhile ({sessions}): nothing was changed"


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Facts at one moment of the trial. `since_s` the installation; `down`: units that should run and do not."""

    since_s: float
    boot_id: str
    down: Sequence[str] = ()
    restarted: Sequence[str] = ()  # units that systemd has restarted since they were first ready
    failed_tests: Sequence[str] = ()  # of the self-test


class TrialVerdict(enum.Enum):
    WAIT = "wait"
    KEEP = "keep"  # the installed version
    GO_BACK = "go back"


def verdict_at_boot(trial: UpdateRecord, boot_id: str) -> tuple[TrialVerdict, str]:
    """Return the verdict on an update that a restart of the computer has interrupted.

    If the computer restarted, the version on trial is not kept: the watchdog may have caused it, and if it was a power
    cut, the cost is only another attempt.
    """
    if trial.phase in (UpdatePhase.KEPT, UpdatePhase.GONE_BACK):
        return TrialVerdict.WAIT, ""
    if trial.phase is UpdatePhase.PREPARED:
        return TrialVerdict.KEEP, f"the computer restarted before version {trial.new} was installed"
    if trial.boot_id == boot_id and trial.phase is UpdatePhase.TRIAL:
        return TrialVerdict.WAIT, ""
    return (
        TrialVerdict.GO_BACK,
        trial.why or f"the computer restarted while version {trial.new} was {trial.phase.value}",
    )


def judge(trial: UpdateRecord, seen: Observation) -> tuple[TrialVerdict, str]:
    """Return the verdict on the new version, and the reason for going back."""
    if seen.boot_id != trial.boot_id:
        return verdict_at_boot(trial, seen.boot_id)
    if seen.failed_tests:
        return TrialVerdict.GO_BACK, f"self-test: {'; '.join(seen.failed_tests)}"
    if seen.restarted:
        return TrialVerdict.GO_BACK, f"had to be started again: {', '.join(seen.restarted)}"
    if seen.down and seen.since_s >= READY_WITHIN_S:
        return TrialVerdict.GO_BACK, f"not running {READY_WITHIN_S} s after the installation: {', '.join(seen.down)}"
    if not seen.down and seen.since_s >= TRIAL_S:
        return TrialVerdict.KEEP, ""
    return TrialVerdict.WAIT, ""


def restores_database(trial: UpdateRecord, schema_now: int | None, old_reads_it: Callable[[], bool]) -> bool:
    """Return whether going back needs the earlier database: the old version reads no newer schema and no broken file.

    If a schema is unknown, which may be temporary, the old version tests the file: payments since the backup must not
    be set aside without need.
    """
    if not trial.backup:
        return False
    if schema_now is None or trial.schema is None:
        return not old_reads_it()
    return schema_now > trial.schema
