"""The link to the fleet: `uplink`, `uplink enrol CODE`."""

from cabinet.clock import NS, WallTime
from cabinet.console.accounts import Level
from cabinet.console.arguments import text
from cabinet.console.command import CommandContext, CommandResult, Output, command
from cabinet.console.commands.history import moment
from cabinet.console.terminal.columns import fold, pad
from cabinet.errors import Refused
from cabinet.link.service_protocol import AskUplink, EnrolUplink, Handed, UplinkView
from cabinet.link.uplink_protocol import UplinkStatus
from cabinet.texts import number_format
from cabinet.uplink.problems import code_of

GONE = "gone"  # the uplink process does not run, or hangs


def link_state(context: CommandContext) -> str | None:
    """Return the state of the link, as in the texts `uplink.<state>`; None if no fleet is configured."""
    if not context.config.uplink.enabled:
        return None
    status = context.backends.uplink()
    return GONE if status is None else status.state


@command("uplink", Level.LOOK, example="uplink", reads=True)
def uplink(context: CommandContext) -> CommandResult:
    """Show the link to the fleet, and the facts that wait for it."""
    words, state, status = context.words, link_state(context), context.backends.uplink()
    if state is None:
        return Output(words("uplink.off"), {"state": None})
    rows = [("state", words(f"uplink.{state}")), *_connection(context, status)]
    outbox: UplinkView | None = None
    try:
        outbox = context.backends.records.ask(AskUplink(), UplinkView)
        rows += _outbox(context, outbox)
    except Refused as refused:
        rows.append(("facts", words(f"refusal.{refused.code}").splitlines()[0]))
    lines = [line for key, value in rows for line in fold(f"{pad(words(f'uplink.{key}'), 12)} {value}")]
    return Output("\n".join(lines), {"state": state, "link": status, "outbox": outbox})


def _connection(context: CommandContext, status: UplinkStatus | None) -> list[tuple[str, str]]:
    if status is None:
        return []
    wall = context.clock.wall()
    since = WallTime(wall.unix_ms - (context.now_ns - status.since_ns) * 1000 // NS, wall.trusted)
    rows = [("since", moment(context, since))]
    if status.cabinet:
        rows.append(("name", f"{status.cabinet}  {status.host}"))
    if status.certificate_until_unix_ms is not None:
        until = number_format.local(WallTime(status.certificate_until_unix_ms, True), context.zone)
        rows.append(("certificate", until.date().isoformat()))
    if status.error:
        rows.append(("error", status.error))
        if (code := code_of(status.error)) is not None:
            rows.append(("remedy", context.words(f"uplink_error.{code}")))
    return rows


def _outbox(context: CommandContext, outbox: UplinkView) -> list[tuple[str, str]]:
    waiting = outbox.facts - outbox.acked
    facts = context.words("uplink.waiting", facts=outbox.facts, acked=outbox.acked, waiting=waiting)
    if waiting:
        facts += " " + context.words("uplink.oldest", minutes=number_format.minutes(outbox.unkept_s))
    rows = [("facts", facts)]
    if outbox.versions:
        rows.append(("wanted", ", ".join(f"{kind} {version}" for kind, version in outbox.versions.items())))
    return rows + [("rejected", f"{kind}: {reason}") for kind, reason in outbox.rejected.items()]


@command("uplink enrol", Level.SERVICE, text("code"), example="uplink enrol 7KQ2-M4TX-9RBD")
def enrol(context: CommandContext, code: str) -> CommandResult:
    """Hand the code over; `uplink` shows the result."""
    if not context.config.uplink.enabled:
        raise Refused("uplink_off")
    context.backends.records.ask(EnrolUplink(code.strip()), Handed)
    return Output(context.words("uplink.handed"), {})
