"""Whether a bundle may be installed now, and whether the new version stays or goes. Pure: what is so comes in.

A new version is on trial for five minutes. The one that judges it is the old one, from a copy of its own files: a new
version that cannot even start could not take itself away.
"""

import enum
from collections.abc import Callable, Sequence

import msgspec

from cabinet.clock import NS
from cabinet.update.bundle import Manifest

TRIAL_S = 300
READY_WITHIN_S = 120  # after the installation: the units are up, or the trial is over
LOOK_EVERY_S = 5
SPARE = 64 << 20  # bytes that stay free for charges meanwhile, and for the copy of the database


class Computer(msgspec.Struct, frozen=True, kw_only=True):
    """What the update meets. `sessions`: running now, None where nobody can say; `free` and `installed` (the present
    version's files) in bytes. What a survey leaves open (`newer`, `sessions`) stands against it until it is known.
    """

    architecture: str
    python: str
    version: str
    free: int
    installed: int
    changed_files: Sequence[str]  # of the installed version, that are not as it came
    on_trial: str | None  # a version that is being tried already
    switched_off: bool = False  # everything, by hand: no guard runs, and none could be tried
    newer: bool = False  # whether the bundle's version is newer than `version`, as dpkg orders them
    sessions: int | None = None


class Asked(msgspec.Struct, frozen=True):
    """What the person at the keyboard has said yes to beforehand."""

    during_sessions: bool = False
    older: bool = False


class Objection(msgspec.Struct, frozen=True):
    """One reason against installing; `wording.objected` has its words."""

    code: str
    params: dict[str, str | int] = {}


def objections(manifest: Manifest, computer: Computer, asked: Asked) -> list[Objection]:
    """Why it is not installed now; nothing, if it may be."""
    found = []

    def against(code: str, **params: str | int) -> None:
        found.append(Objection(code, params))

    if computer.on_trial is not None:
        against("on_trial", version=computer.on_trial)
    if manifest.architecture != computer.architecture:
        against("architecture", needed=manifest.architecture, here=computer.architecture)
    if manifest.python != computer.python:
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
    if computer.free < (needed := room(manifest, computer)):
        against("no_room", free=computer.free >> 20, needed=needed >> 20)
    if computer.switched_off:
        against("switched_off")
    if computer.changed_files:
        against("changed_files", file=computer.changed_files[0])
    return found


def fits(manifest: Manifest, computer: Computer) -> bool:
    """Whether it is for such a computer at all, now or later."""
    return (manifest.architecture, manifest.python) == (computer.architecture, computer.python)


def room(manifest: Manifest, computer: Computer) -> int:
    """Bytes that must be free: the new package, and the present version as files and as a package."""
    return manifest.size + 2 * computer.installed + SPARE


class Phase(enum.Enum):
    """How far an update is; written to disk before the next step begins."""

    PREPARED = "prepared"
    INSTALLING = "installing"
    TRIAL = "on trial"
    GOING_BACK = "going back"
    KEPT = "kept"
    GONE_BACK = "gone back"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one update, across a restart of the computer."""

    old: str
    new: str
    phase: Phase
    boot_id: str
    schema: int | None  # of the database before; None: there was none
    backup: str = ""  # the database as it was before
    why: str = ""
    until_ns: int | None = None  # on the clock of that boot: when the trial ends, if all goes well
    sha256: str = ""  # of the new package, as it was signed; "" in a record of a version that kept none
    during_sessions: bool = False  # what was asked for: charges that begin before the installation stand against it
    made_writable: tuple[str, ...] = ()  # file systems that are made read-only again at the end

    def left_s(self, boot_id: str, now_ns: int) -> int | None:
        """How long the trial still takes; None where there is none now, or it is not known."""
        if self.phase is not Phase.TRIAL or self.until_ns is None or self.boot_id != boot_id:
            return None
        return max(0, (self.until_ns - now_ns) // NS)


def last_doubt(trial: Trial, sha256: str, sessions: int | None) -> str:
    """Why it is not installed after all, looked at when nothing more comes before that; "" if it may be.

    Minutes lie between the signature's check and here. `sha256` of the package that lies there, `sessions` running now.
    """
    if trial.sha256 and sha256 != trial.sha256:
        return "the package is not the one that was signed any more: nothing was changed"
    if trial.during_sessions or sessions == 0:
        return ""
    if sessions is None:
        return "whether charges run could not be said: nothing was changed"
    return f"charges have begun meanwhile ({sessions}): nothing was changed"


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What is so at one look. `since_s` the installation; `down`: units that should run and do not."""

    since_s: float
    boot_id: str
    down: Sequence[str] = ()
    restarted: Sequence[str] = ()  # units that systemd had to start again since they were ready first
    failed_tests: Sequence[str] = ()  # of the self-test


class Verdict(enum.Enum):
    WAIT = "wait"
    KEEP = "keep"  # what is installed now
    GO_BACK = "go back"


def at_boot(trial: Trial, boot_id: str) -> tuple[Verdict, str]:
    """What becomes of an update that the computer's restart has interrupted.

    A version on trial whose computer restarted is not kept: its watchdog may have bitten, and a power cut costs no more
    than another attempt.
    """
    if trial.phase in (Phase.KEPT, Phase.GONE_BACK):
        return Verdict.WAIT, ""
    if trial.phase is Phase.PREPARED:
        return Verdict.KEEP, f"the computer restarted before version {trial.new} was installed"
    if trial.boot_id == boot_id and trial.phase is Phase.TRIAL:
        return Verdict.WAIT, ""
    return Verdict.GO_BACK, trial.why or f"the computer restarted while version {trial.new} was {trial.phase.value}"


def judge(trial: Trial, seen: Observation) -> tuple[Verdict, str]:
    """Whether the new version stays, and why not."""
    if seen.boot_id != trial.boot_id:
        return at_boot(trial, seen.boot_id)
    if seen.failed_tests:
        return Verdict.GO_BACK, f"self-test: {'; '.join(seen.failed_tests)}"
    if seen.restarted:
        return Verdict.GO_BACK, f"had to be started again: {', '.join(seen.restarted)}"
    if seen.down and seen.since_s >= READY_WITHIN_S:
        return Verdict.GO_BACK, f"not running {READY_WITHIN_S} s after the installation: {', '.join(seen.down)}"
    if not seen.down and seen.since_s >= TRIAL_S:
        return Verdict.KEEP, ""
    return Verdict.WAIT, ""


def restores_database(trial: Trial, schema_now: int | None, old_reads_it: Callable[[], bool]) -> bool:
    """Whether going back needs the database of before: the old version reads none of a newer form, or a broken one.

    Where a form is not known, which may pass, the old version is asked: what was paid since the backup is not put aside
    for nothing.
    """
    if not trial.backup:
        return False
    if schema_now is None or trial.schema is None:
        return not old_reads_it()
    return schema_now > trial.schema
