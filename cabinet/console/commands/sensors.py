"""Bus commands: `sensors` (raw and scaled), `bus` (chips, mux channels, failures), `bus scan`."""

import time

from cabinet.clock import NS
from cabinet.console.accounts import Level
from cabinet.console.arguments import OUTLET, optional
from cabinet.console.command import CommandContext, CommandResult, Output, command
from cabinet.console.status_text import reading
from cabinet.console.terminal.columns import fold, table
from cabinet.link.guard_protocol import BusView, ChipView, ScanView, SegmentView
from cabinet.model import OutletState

SCAN_POLL_S = 0.1
SCAN_WITHIN_S = 10.0
REGISTERS = ("IPEAK{}", "IRMS{}", "{}WATT", "AENERGY{}")  # of one meter input; in one name the letter comes first
SHARED = ("VRMS", "V", "PERIOD")  # shared by both inputs


@command("sensors", Level.LOOK, optional(OUTLET), example="sensors 3", reads=True)
def sensors(context: CommandContext, number: int | None) -> CommandResult:
    view = context.guard.bus()
    states = [s for s in context.guard.snapshot().outlets if number in (None, s.outlet)]
    rows = []
    data = []
    for state in states:
        segment, input_ = _place(view, state.outlet)
        raw = _registers(segment, input_)
        rows.append(
            [
                str(state.outlet),
                f"0x{segment.mux:02x}/{segment.channel}{input_}",
                _scaled(context, state),
                " ".join(f"{name}={value}" for name, value in raw.items()) if number else _short(raw),
            ]
        )
        data.append({"outlet": state.outlet, "segment": segment.name, "input": input_, "raw": raw, "scaled": state})
    titles = [context.words(f"sensors.{key}") for key in ("outlet", "place", "scaled", "raw")]
    lines = table(titles, rows, right=[0]) if number is None else _one(context, states[0], rows[0])
    lines += [context.words("sensors.inside", raw=_short(chip.raw)) for chip in view.upstream]
    return Output("\n".join(lines), {"outlets": data, "upstream": view.upstream})


@command("bus", Level.LOOK, reads=True)
def bus(context: CommandContext) -> CommandResult:
    view = context.guard.bus()
    return Output("\n".join(_bus_lines(context, view)), view)


@command("bus scan", Level.OPERATE, reads=True)
def bus_scan(context: CommandContext) -> CommandResult:
    """Scan the bus: one address per guard scan, half a second for all of them if no chip hangs."""
    view = context.guard.bus(scan=True)
    for _ in range(int(SCAN_WITHIN_S / SCAN_POLL_S)):
        if not view.scan.running:
            break
        time.sleep(SCAN_POLL_S)
        view = context.guard.bus()
    return Output("\n".join([*_bus_lines(context, view), *_scan_lines(context, view.scan)]), view)


def _place(view: BusView, outlet: int) -> tuple[SegmentView, str]:
    return next((segment, input_) for segment in view.segments for input_, at in segment.inputs.items() if at == outlet)


def _registers(segment: SegmentView, input_: str) -> dict[str, int]:
    """Return the raw registers of one input, those shared with the other input, and the thermometers'."""
    meter, *thermometers = segment.chips
    names = [pattern.format(input_) for pattern in REGISTERS] + list(SHARED)
    found = {name: meter.raw[name] for name in names if name in meter.raw}
    for chip in thermometers:
        found |= {f"T@0x{chip.address:02x}": value for value in chip.raw.values()}
    return found


def _scaled(context: CommandContext, state: OutletState) -> str:
    words = context.words
    return " ".join(
        [
            reading(state.current_ma, 1000, 3, words, "A"),
            reading(state.power_mw, 1000, 1, words, "W"),
            reading(state.voltage_mv, 1000, 1, words, "V"),
            reading(state.temperature_mc, 1000, 1, words, "°C"),
        ]
    )


def _short(raw: dict[str, int]) -> str:
    """Return the raw values without names, and without those that two outlets share."""
    return " ".join(str(value) for name, value in raw.items() if name not in SHARED)


def _one(context: CommandContext, state: OutletState, row: list[str]) -> list[str]:
    words = context.words
    return [
        f"{words('outlet.title', outlet=state.outlet)}  {row[1]}",
        f"  {words('sensors.scaled')}: {row[2]}",
        *fold(f"{words('sensors.raw')}: {row[3]}", "  "),
    ]


def _bus_lines(context: CommandContext, view: BusView) -> list[str]:
    words = context.words
    rows = []
    for segment in view.segments:
        outlets = " ".join(f"{input_}={outlet}" for input_, outlet in segment.inputs.items())
        feed = "" if segment.feed_input is None else f" {segment.feed_input}={words('bus.feed')}"
        errors = " ".join(f"{kind}:{count}" for kind, count in segment.errors.items())
        chips = " ".join(f"{chip.chip}@0x{chip.address:02x}" for chip in segment.chips)
        state = words("bus.up" if segment.up else "bus.down")
        rows.append([f"0x{segment.mux:02x}/{segment.channel}", state, (outlets + feed).strip(), errors or "-", chips])
    lines = table([words(f"bus.{key}") for key in ("channel", "state", "outlets", "errors", "chips")], rows)
    lines += [words("bus.upstream", chip=_named(chip)) for chip in view.upstream]
    for address in context.config.hardware.expanders:
        key = "bus.expander_down" if address in view.expanders_down else "bus.expander_up"
        lines.append(words(key, address=f"0x{address:02x}"))
    for segment in view.segments:
        if segment.last_error:
            ago_s = (context.now_ns - segment.last_error_ns) // NS
            lines += fold(words("bus.last", name=segment.name, seconds=ago_s, error=segment.last_error))
    return [*lines, words("bus.total", errors=view.errors)]


def _scan_lines(context: CommandContext, scan: ScanView) -> list[str]:
    words = context.words
    lines = [words("bus.scanned", asked=scan.asked, places=scan.places)]
    lines += [words("bus.unexpected", chip=_named(chip)) for chip in scan.found]
    if scan.stopped_by:
        lines += fold(words("bus.stopped", error=scan.stopped_by))
    if not scan.found:
        lines.append(words("bus.nothing_unexpected"))
    return lines


def _named(chip: ChipView) -> str:
    behind = "" if chip.mux is None else f" 0x{chip.mux:02x}/{chip.channel}"
    return f"{chip.chip}@0x{chip.address:02x}{behind}"
