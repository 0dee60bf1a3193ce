"""Commands for the cabinet's computer: clock, network, configuration, backup to a USB drive, restart.

The steward (`cabinet.system.steward`) performs the operations that require root.
"""

import datetime
import zoneinfo
from typing import Any

import msgspec

from cabinet import config as configuration
from cabinet.config import Config
from cabinet.console.accounts import Level
from cabinet.console.arguments import choice, optional, text, word
from cabinet.console.command import CommandContext, CommandResult, Confirmation, Output, command
from cabinet.console.commands.force import FORCE, ends_charges
from cabinet.console.commands.settings import leaves
from cabinet.console.terminal.columns import fold, pad
from cabinet.errors import CabinetError, ConfigErrors, Refused
from cabinet.system.steward.protocol import (
    EARLIEST_MS,
    LATEST_MS,
    BackUp,
    BackupCopied,
    CancelReboot,
    Network,
    Reboot,
    RequestDone,
    Restart,
    SetClock,
    ShowNetwork,
)

MAX_CHANGES = 20  # number of changes shown
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M")


@command("clock", Level.SERVICE, word("set"), text("time"), example="clock set 2026-11-25 21:30")
def clock(context: CommandContext, typed: str) -> CommandResult:
    """Set the clock, in local time of the site.

    Bills use the monotonic clock and are not affected; dates and time-of-use prices are.
    """
    unix_ms = moment(typed, context.config.site.timezone)
    if unix_ms is None:
        raise Refused("no_time")
    now = context.clock.wall()
    if now.trusted:
        raise Refused("clock_synchronised")
    off_s = (unix_ms - now.unix_ms) // 1000

    def on_yes() -> CommandResult:
        context.backends.steward.ask(SetClock(unix_ms))
        return Output(context.words("clock_set.done", time=typed), {"unix_ms": unix_ms, "moved_s": off_s})

    return Confirmation(
        context.words("clock_set.question", time=typed, zone=context.config.site.timezone, off=f"{off_s:+d}"), on_yes
    )


def moment(typed: str, zone: str) -> int | None:
    """Return a typed local time as milliseconds since 1970; None if it is no time, or out of the plausible range."""
    for form in TIME_FORMATS:
        try:
            local = datetime.datetime.strptime(typed.replace("：", ":").strip(), form)
        except ValueError:
            continue
        unix_ms = round(local.replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp() * 1000)
        return unix_ms if EARLIEST_MS <= unix_ms <= LATEST_MS else None
    return None


@command("network", Level.LOOK, optional(word("show")), example="network show", reads=True)
def network(context: CommandContext) -> CommandResult:
    shown = context.backends.steward.ask(ShowNetwork())
    assert isinstance(shown, Network)
    words = context.words
    lines = []
    for each in shown.interfaces:
        state = words("network.up" if each.up else "network.down")
        lines += fold(f"{pad(each.name, 10)} {state}  {each.mac}  {', '.join(each.addresses) or '-'}")
    lines.append(words("network.gateway", gateways=", ".join(shown.gateways) or "-"))
    lines.append(words("network.names", servers=", ".join(shown.name_servers) or "-"))
    return Output("\n".join(lines), shown)


@command("backup", Level.SERVICE, word("to"), word("usb"), example="backup to usb")
def backup(context: CommandContext) -> CommandResult:
    def on_yes() -> CommandResult:
        copied = context.backends.steward.ask(BackUp())
        assert isinstance(copied, BackupCopied)
        params = {"path": copied.to, "kib": copied.size // 1024, "sum": copied.sha256[:16]}
        said = context.words("backup.done", **params)
        return Output(f"{said}\n{context.words('backup.let_go')}" if copied.let_go else said, copied)

    return Confirmation(context.words("backup.question"), on_yes)


@command("reload", Level.SERVICE, FORCE)
def reload(context: CommandContext, force: str | None) -> CommandResult:
    """Restart guard and service to load the configuration: every outlet opens. A file with an error changes nothing."""
    source = context.backends.source
    if source is None:
        raise Refused("no_source")
    try:
        fresh = configuration.load(source)
    except ConfigErrors as errors:
        raise CabinetError("\n" + "\n".join(str(error) for error in errors.errors[:MAX_CHANGES])) from errors
    changed = differences(context.config, fresh)
    if not changed:
        return Output(context.words("reload.same", path=source), [])
    interrupts = ends_charges(context, force)

    def on_yes() -> CommandResult:
        ends_charges(context, force)
        context.backends.steward.ask(Restart())
        return Output(context.words("reload.done"), changed)

    shown = [f"  {line}" for line in changed[:MAX_CHANGES]]
    more = [context.words("reload.more", count=len(changed) - MAX_CHANGES)] if len(changed) > MAX_CHANGES else []
    key = "reload.force_question" if interrupts else "reload.question"
    return Confirmation("\n".join([*shown, *more, context.words(key)]), on_yes)


def differences(old: Config, new: Config) -> list[str]:
    """Return every key with a changed value, as `path: old -> new`."""
    before, after = (dict(leaves([("", each)])) for each in (old, new))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {_value(before.get(key))} -> {_value(after.get(key))}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _value(value: Any) -> str:
    return "-" if value is None else msgspec.json.encode(value).decode()


@command("reboot", Level.SERVICE, optional(choice("reboot", "wait", "cancel", "force")))
def reboot(context: CommandContext, how: str | None) -> CommandResult:
    """Restart the computer.

    Plain: refused during a charge. `wait`: once no charge is active, regardless of logins then. `force`: now.
    """
    if how == "cancel":
        waited = _asked(context, CancelReboot())
        return Output(context.words("reboot.called_off" if waited else "reboot.none_waits"), {"waited": waited})
    if how == "wait":
        return Confirmation(context.words("reboot.wait_question"), lambda: _rebooting(context, True))
    interrupts = ends_charges(context, how)

    def on_yes() -> CommandResult:
        ends_charges(context, how)  # a charge may have started meanwhile
        return _rebooting(context, False)

    return Confirmation(context.words("reboot.force_question" if interrupts else "reboot.question"), on_yes)


def _rebooting(context: CommandContext, wait: bool) -> CommandResult:
    waits = _asked(context, Reboot(wait))
    return Output(context.words("reboot.waits" if waits else "reboot.done"), {"waits": waits})


def _asked(context: CommandContext, request: Reboot | CancelReboot) -> bool:
    done = context.backends.steward.ask(request)
    return isinstance(done, RequestDone) and done.waiting
