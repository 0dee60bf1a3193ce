"""Whether a bundle may be installed now, and whether the new version stays or goes. Pure: what is so comes in.

A new version is on trial for five minutes. The one that judges it is the old one, from a copy of its own files: a new
version that cannot even start could not take itself away.
"""

import enum
from collections.abc import Sequence

import msgspec

from cabinet.update.bundle import Manifest

TRIAL_S = 300
READY_WITHIN_S = 120  # after the installation: the units are up, or the trial is over
LOOK_EVERY_S = 5
SPARE = 64 << 20  # bytes that stay free for charges meanwhile, and for the copy of the database


class Computer(msgspec.Struct, frozen=True, kw_only=True):
    """What the update meets. `sessions`: running now, None where nobody can say; `free` and `installed` (the present
    version's files) in bytes.
    """

    architecture: str
    python: str
    version: str
    newer: bool  # whether the bundle's version is newer than `version`, as dpkg orders them
    sessions: int | None
    free: int
    installed: int
    read_only: bool
    changed_files: Sequence[str]  # of the installed version, that are not as it came
    on_trial: str | None  # a version that is being tried already


class Asked(msgspec.Struct, frozen=True):
    """What the person at the keyboard has said yes to beforehand."""

    during_sessions: bool = False
    older: bool = False


def objections(manifest: Manifest, computer: Computer, asked: Asked) -> list[str]:
    """Why it is not installed now, a sentence each; nothing, if it may be."""
    found = []
    if computer.on_trial is not None:
        found.append(f"version {computer.on_trial} is on trial: wait until it is over (cabinet update status)")
    if manifest.architecture != computer.architecture:
        found.append(f"the bundle is for {manifest.architecture}, this computer is {computer.architecture}")
    if manifest.python != computer.python:
        found.append(f"the bundle needs Python {manifest.python}, this computer has {computer.python}")
    if not computer.newer and not asked.older:
        found.append(
            f"version {manifest.version} is not newer than {computer.version}: --older installs it all the same"
        )
    if computer.sessions is None and not asked.during_sessions:
        found.append("whether charges run cannot be said: --during-sessions installs all the same")
    elif computer.sessions and not asked.during_sessions:
        charges = "1 charge runs" if computer.sessions == 1 else f"{computer.sessions} charges run"
        found.append(f"{charges}: wait, or --during-sessions pauses them for the update and goes on with them")
    if computer.free < (needed := room(manifest, computer)):
        found.append(f"{computer.free >> 20} MiB are free in /var/lib/cabinet, {needed >> 20} are needed")
    if computer.read_only:
        found.append("the system is read-only: mount -o remount,rw / first")
    if computer.changed_files:
        found.append(
            f"files of the present version were changed ({computer.changed_files[0]}), so it could not be put back: "
            "apt install --reinstall cabinet first"
        )
    return found


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


def restores_database(trial: Trial, schema_now: int | None) -> bool:
    """Whether going back needs the database of before: the old version reads none of a newer form, or a broken one."""
    return bool(trial.backup) and (schema_now is None or trial.schema is None or schema_now > trial.schema)
