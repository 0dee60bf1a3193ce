"""`update check`: installed version, result of the last update, and bundles on USB drives. Installs nothing.

The steward reads the drives, and reports each finding as it comes. The objections to a bundle are evaluated here, by
the rules of `cabinet update install`, with the number of charges from service or guard.
"""

import contextlib
import shlex
from typing import Any

import msgspec

import cabinet
from cabinet.clock import NS, WallTime
from cabinet.console.accounts import Level
from cabinet.console.command import CommandContext, CommandResult, LiveView, Output, command
from cabinet.console.commands.steps import Steps, run_in_view
from cabinet.console.terminal.columns import fold
from cabinet.errors import LinkError, Refused
from cabinet.link.service_protocol import AskSessions, Sessions
from cabinet.system.steward.protocol import (
    BundleFound,
    DriveFound,
    InspectionProgress,
    InstalledVersion,
)
from cabinet.system.update.trial import ComputerFacts, InstallOptions, Objection, fits, objections
from cabinet.system.update.wording import describe_update, objection_text
from cabinet.texts import Texts, number_format

PROGRAM_WITHIN_S = 40  # a reply to a program cannot be interrupted, and the systemd watchdog expires after 60 s
PROGRESS_PERCENT = 10  # step between two progress lines, also at 9600 baud
MIB = 1 << 20


class _Stick:
    """The bundles and problems found on one USB drive."""

    def __init__(self, seen: DriveFound) -> None:
        self.seen = seen
        self.bundles: list[BundleFound] = []
        self.problem = seen.problem


class _Findings:
    """All results so far; `complete` once the search is finished."""

    def __init__(self) -> None:
        self.surveyed: InstalledVersion | None = None
        self.sticks: list[_Stick] = []
        self.complete = False

    def add(self, found: object) -> None:
        if isinstance(found, InstalledVersion):
            self.surveyed = found
        elif isinstance(found, DriveFound):
            if found.problem and self.sticks and self.sticks[-1].seen.device == found.device:
                self.sticks[-1].problem = found.problem
            else:
                self.sticks.append(_Stick(found))
        elif isinstance(found, BundleFound) and self.sticks:
            self.sticks[-1].bundles.append(found)


@command("update check", Level.LOOK, reads=True)
def update_check(context: CommandContext) -> CommandResult:
    """Check for updates; a big bundle takes time, and any key ends the check."""
    live = run_in_view(
        _looking(context, _Findings()), lambda found: _shown(context, found), lambda: context.words("update_check.left")
    )
    assert isinstance(live, LiveView)
    return msgspec.structs.replace(live, answer=lambda: _answer(context))


def _looking(context: CommandContext, findings: _Findings) -> Steps[_Findings]:
    """Take all queued findings in each step: the steward ends an inspection whose queue stays full."""
    said = ""
    with contextlib.closing(context.backends.steward.inspect_updates()) as inspection:
        for found in inspection:
            findings.add(found)
            line = _progress(found, context.words) if isinstance(found, InspectionProgress) else said
            if found is None or line != said:
                yield line if line != said else ""
                said = line
    findings.complete = True
    return findings


def _answer(context: CommandContext) -> Output:
    """Return the reply to a program: complete, or partial after `PROGRAM_WITHIN_S`."""
    findings = _Findings()
    until_ns = context.now_ns + PROGRAM_WITHIN_S * NS
    with contextlib.closing(_looking(context, findings)) as steps:
        for _ in steps:
            if context.now_ns >= until_ns:
                break
    return _shown(context, findings)


def _progress(found: InspectionProgress, words: Texts) -> str:
    if not found.name:
        return words("update_check.looking")
    percent = 100 * found.done // max(1, found.size) // PROGRESS_PERCENT * PROGRESS_PERCENT
    return words("update_check.reading", name=found.name, percent=percent, mib=_mib(found.size))


# --- results ---------------------------------------------------------------------------------------------------------


def _shown(context: CommandContext, findings: _Findings) -> Output:
    lines, data = _installed(context, findings.surveyed)
    computer = None if findings.surveyed is None else findings.surveyed.computer
    if computer is not None:
        computer = msgspec.structs.replace(computer, sessions=_charges(context))
    data |= {"complete": findings.complete, "sticks": []}
    if not findings.sticks and findings.complete:
        lines += fold(context.words("update_check.no_stick"))
    for stick in findings.sticks:
        stick_lines, shown = _of_stick(context.words, stick, computer)
        lines += ["", *stick_lines]
        data["sticks"].append(shown)
    return Output("\n".join(lines), data)


def _installed(context: CommandContext, surveyed: InstalledVersion | None) -> tuple[list[str], dict[str, Any]]:
    """Return lines and data of the running version and the last update."""
    words = context.words
    data: dict[str, Any] = {"runs": cabinet.__version__, "installed": None, "trial": None, "last": None, "problems": []}
    lines = [words("update_check.runs", version=cabinet.__version__)]
    if surveyed is None:
        return lines, data
    if (computer := surveyed.computer) is not None:
        lines = [
            words("update_check.installed", version=computer.version, architecture=computer.architecture,
                  python=computer.python)
        ]  # fmt: skip
        if computer.version != cabinet.__version__:
            lines += fold(words("update_check.runs_other", version=cabinet.__version__))
        data["installed"] = msgspec.structs.replace(computer, sessions=None)
    if (trial := surveyed.trial) is not None:
        lines += fold(words("update_check.under_way", text=describe_update(trial, words)))
        if surveyed.left_s is not None:
            lines += fold(
                words("update_check.until", time=_time(context, surveyed.left_s), seconds=surveyed.left_s), "  "
            )
        data["trial"] = {"new": trial.new, "old": trial.old, "phase": trial.phase, "left_s": surveyed.left_s}
    if (last := surveyed.last) is not None:
        lines += fold(words("update_check.last", text=describe_update(last, words)))
        data["last"] = {"new": last.new, "old": last.old, "phase": last.phase, "why": last.why}
    elif trial is None and not surveyed.problems:
        lines += fold(words("update_check.never"))
    for problem in surveyed.problems:
        lines += fold(words("update_check.problem", text=problem))
    data["problems"] = surveyed.problems
    return lines, data


def _of_stick(words: Texts, stick: _Stick, computer: ComputerFacts | None) -> tuple[list[str], dict[str, Any]]:
    seen = stick.seen
    place = seen.place or words("update_check.mounted_to_look")
    lines = fold(words("update_check.stick", device=seen.device, place=place))
    data: dict[str, Any] = {"device": seen.device, "place": seen.place, "more": seen.more, "problem": stick.problem}
    data["bundles"] = []
    if not seen.bundles and not stick.problem:
        lines += fold(words("update_check.no_bundle"), "  ")
    for bundle in stick.bundles:
        bundle_lines, shown = _of_bundle(words, seen, bundle, computer)
        lines += bundle_lines
        data["bundles"].append(shown)
    if seen.more:
        lines += fold(words("update_check.more", count=seen.more), "  ")
    if stick.problem:
        lines += fold(words("update_check.unreadable", why=stick.problem), "  ")
    return lines, data


def _of_bundle(
    words: Texts, stick: DriveFound, seen: BundleFound, computer: ComputerFacts | None
) -> tuple[list[str], dict[str, Any]]:
    lines = [seen.name]
    data: dict[str, Any] = {"name": seen.name, "wrong": seen.wrong, "why": seen.why}
    manifest = seen.manifest
    if manifest is not None:
        age = words("update_check.age_unknown" if seen.age is None else f"update.age.{seen.age}")
        lines += fold(words("update_check.signed", version=manifest.version, age=age, signer=seen.signer), "  ")
        fitting = computer is not None and fits(manifest, computer)
        key = "unknown" if computer is None else "fits" if fitting else "no_fit"
        made_for = {"architecture": manifest.architecture, "python": manifest.python, "mib": _mib(manifest.size)}
        lines += fold(words(f"update_check.{key}", **made_for), "  ")
        data |= {"version": manifest.version, "signer": seen.signer, "age": seen.age, **made_for}
        data["fits"] = fitting if computer is not None else None
    if seen.wrong:
        lines += fold(words(f"update.wrong.{seen.wrong}", why=seen.why), "  ")
    elif manifest is not None and computer is not None:
        computer = msgspec.structs.replace(computer, newer=seen.age == "newer")
        against = objections(manifest, computer, InstallOptions())
        lines += _against(words, against)
        data["against"] = against
        if fits(manifest, computer):
            data["install"] = typed = _install(stick, seen)
            lines += [f"  {words('update_check.install')}", f"  {typed}"]
    return lines, data


def _against(words: Texts, against: list[Objection]) -> list[str]:
    if not against:
        return fold(words("update_check.nothing_against"), "  ")
    lines = fold(words("update_check.against"), "  ")
    for objection in against:
        lines += fold(objection_text(objection, words), "    ")
    return lines


def _install(stick: DriveFound, seen: BundleFound) -> str:
    """Return the command to type in a shell of the computer. It is not wrapped, for copying."""
    older = "" if seen.age == "newer" else " --older"
    if stick.place:
        return f"sudo cabinet update install{older} {shlex.quote(f'{stick.place}/{seen.name}')}"
    there = shlex.quote(f"/mnt/{seen.name}")
    return f"sudo mount -o ro {stick.device} /mnt && sudo cabinet update install{older} {there}"


def _charges(context: CommandContext) -> int | None:
    """Return the number of active charges from the service, or from the guard if there is no service, else None."""
    try:
        return len(context.backends.records.ask(AskSessions(1), Sessions).running)
    except Refused:
        pass
    try:
        return sum(state.session_id is not None and not state.trial for state in context.guard.snapshot().outlets)
    except LinkError:
        return None


def _time(context: CommandContext, in_s: int) -> str:
    now = context.clock.wall()
    return number_format.local(WallTime(now.unix_ms + in_s * 1000, now.trusted), context.zone).strftime("%H:%M:%S")


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"
