"""Charges and their energy: `sessions`, `usage tail`, `energy`. The service stores them; the guard has a part."""

from cabinet.console.accounts import Level
from cabinet.console.arguments import optional
from cabinet.console.command import CommandContext, CommandResult, Output, command
from cabinet.console.commands.history import COUNT, moment
from cabinet.console.terminal.columns import table
from cabinet.errors import LinkError, Refused
from cabinet.link.service_protocol import (
    AskEnergy,
    AskSessions,
    AskUsage,
    DayEnergy,
    Energy,
    SessionLine,
    Sessions,
    Usage,
)
from cabinet.model import MeterCount, OutletState, Phase
from cabinet.texts import number_format

USUAL = 10
NUMBERS = [2, 3, 4]


@command("sessions", Level.LOOK, optional(COUNT), example="sessions", reads=True)
def sessions(context: CommandContext, count: int | None) -> CommandResult:
    """Show the sessions; if the service is down, only those of the guard."""
    words = context.words
    try:
        found = context.backends.records.ask(AskSessions(count or USUAL), Sessions)
    except Refused as refused:
        here = [state for state in context.guard.snapshot().outlets if state.phase is not Phase.IDLE]
        rows = [_guards_row(context, state) for state in here]
        titles = [words(f"sessions.{key}") for key in ("outlet", "session", "minutes", "kwh", "state")]
        lines = table(titles, rows, right=[0, 2, 3]) if rows else [words("sessions.none")]
        return Output(
            "\n".join([words("sessions.service_gone"), *lines]),
            {"service": refused.code, "guard": [_guards_data(state) for state in here]},
        )
    titles = [words(f"sessions.{key}") for key in ("order", "outlet", "minutes", "kwh", "yuan", "started", "state")]
    rows = [_row(context, line) for line in [*found.running, *found.over]]
    text = "\n".join(table(titles, rows, right=[1, *NUMBERS])) if rows else words("sessions.none")
    return Output(text, found)


@command("usage tail", Level.LOOK, optional(COUNT), example="usage tail 5", reads=True)
def usage_tail(context: CommandContext, count: int | None) -> CommandResult:
    found = context.backends.records.ask(AskUsage(count or USUAL), Usage)
    rows = [
        [
            str(line.number),
            moment(context, line.ended),
            str(line.outlet),
            number_format.minutes(line.charging_s),
            number_format.kwh(line.energy_mwh),
            number_format.yuan(line.total_fen),
            line.card or "-",
            context.words(f"fault.{line.fault.value}.name")
            if line.fault is not None
            else context.words(f"end_reason.{line.end_reason.value}"),
        ]
        for line in found.lines
    ]
    keys = ("number", "ended", "outlet", "minutes", "kwh", "yuan", "card", "reason")
    titles = [context.words(f"sessions.{key}") for key in keys]
    return Output("\n".join(table(titles, rows, right=[0, 2, 3, 4, 5])) if rows else context.words("usage.none"), found)


@command("energy", Level.LOOK, reads=True)
def energy(context: CommandContext) -> CommandResult:
    """Show the guard's counters and the service's last days; if one of the two is down, only the other's data."""
    words = context.words
    days: list[DayEnergy] = []
    states: list[OutletState] = []
    notes = []
    try:
        days = context.backends.records.ask(AskEnergy(), Energy).days
    except Refused:
        notes.append(words("energy.service_gone"))
    try:
        states = context.guard.snapshot().outlets
    except LinkError:
        if not days:
            raise
        notes.append(words("energy.guard_gone"))
    counts = {state.outlet: state.count for state in states}
    shown = days[:4]
    rows = [
        _energy_row(str(outlet.number), [counts[outlet.number]] if outlet.number in counts else [],
                    [day.energy_mwh.get(outlet.number, 0) for day in shown])
        for outlet in context.config.outlet
    ]  # fmt: skip
    totals = [sum(day.energy_mwh.values()) for day in shown]
    rows.append(_energy_row(words("energy.all"), list(counts.values()), totals))
    titles = [words(f"energy.{key}") for key in ("outlet", "counter", "hours")] + [day.day[5:] for day in shown]
    lines = table(titles, rows, right=range(len(titles)))
    data = {"counters": counts, "days": days}
    return Output("\n".join([*lines, words("energy.explained"), *notes]), data)


def _energy_row(title: str, counts: list[MeterCount], days_mwh: list[int]) -> list[str]:
    """Return the sum of the counters, a dash if there are none, and the days."""
    counter = number_format.kwh(sum(count.energy_mwh for count in counts)) if counts else "-"
    hours = f"{sum(count.powered_ms for count in counts) / 3_600_000:.1f}" if counts else "-"
    return [title, counter, hours, *map(number_format.kwh, days_mwh)]


def _row(context: CommandContext, line: SessionLine) -> list[str]:
    words = context.words
    if line.fault is not None:
        state = words(f"fault.{line.fault.value}.name")
    elif line.end_reason is not None:
        state = words(f"end_reason.{line.end_reason.value}")
    else:
        state = words(f"state.{line.state}")
    return [
        line.order_number,
        str(line.outlet),
        number_format.minutes(line.charging_s),
        number_format.kwh(line.energy_mwh),
        number_format.yuan(line.cost_fen),
        moment(context, line.started)[5:],
        state,
    ]


def _guards_row(context: CommandContext, state: OutletState) -> list[str]:
    count = state.charge_count
    return [
        str(state.outlet),
        state.session_id or "-",
        number_format.minutes(count.charging_ms // 1000),
        number_format.kwh(count.energy_mwh),
        context.words(f"phase.{state.phase.value}"),
    ]


def _guards_data(state: OutletState) -> dict[str, object]:
    return {
        "outlet": state.outlet,
        "session_id": state.session_id,
        "phase": state.phase,
        "charge_count": state.charge_count,
    }
