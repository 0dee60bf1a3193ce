"""What the console shows, as text of at most 80 columns. Pure."""

from cabinet import __version__, figures
from cabinet.clock import NS
from cabinet.config import Config
from cabinet.console.editing import pad
from cabinet.model import OutletState, Quality, Reading, Snapshot
from cabinet.quantities import quantities
from cabinet.texts import Texts

OLD_SNAPSHOT_NS = 2 * NS  # the guard looks at everything many times a second

# columns of `status`: text key and width; negative is right-aligned
_COLUMNS = (("outlet", -3), ("relay", 7), ("w", -6), ("a", -7), ("c", -5), ("min", -5), ("kwh", -7))


def status(snapshot: Snapshot, words: Texts, now_ns: int, hindrance: str | None = None) -> str:
    """The whole cabinet on one screen of 24 lines, if it has ten outlets; then what `hindrance` the service has."""
    title = "  ".join(pad(words(f"column.{key}"), columns) for key, columns in _COLUMNS)
    return "\n".join(
        [
            *_cabinet(snapshot, words, now_ns),
            f"{title}  {words('column.state')}",
            *(_row(state, words) for state in snapshot.outlets),
            _health(snapshot, words),
            *([] if hindrance is None else [words(f"status.service_{hindrance}")]),
        ]
    )


def outlet(state: OutletState, config: Config, words: Texts) -> str:
    """Everything the guard knows of one outlet, with the limits that apply to it."""
    limits = config.protections

    def limited(reading: Reading, decimals: int, unit: str, limit: float) -> str:
        return f"{_reading(reading, 1000, decimals, words, unit)}  {words('of_limit')} {limit:g}{unit}"

    rows = [
        ("relay", words(_relay(state))),
        ("phase", words(f"phase.{state.phase.value}")),
        ("session", state.session_id or "-"),
        ("power", _reading(state.power_mw, 1000, 1, words, " W")),
        ("current", limited(state.current_ma, 3, " A", limits.overcurrent.rated_a)),
        ("peak", limited(state.peak_ma, 2, " A", limits.short_circuit.peak_a)),
        ("voltage", _reading(state.voltage_mv, 1000, 1, words, " V")),
        ("temperature", limited(state.temperature_mc, 1, " °C", limits.outlet_hot.trip_c)),
        ("charge", f"{figures.minutes(state.charge_count.charging_ms // 1000)} min, "
                   f"{figures.kwh(state.charge_count.energy_mwh)} kWh"),
        ("counter", f"{state.count.powered_ms / 3_600_000:.1f} h, {figures.kwh(state.count.energy_mwh)} kWh"),
        ("start", words("start.possible") if state.refusal is None else words(f"refusal.{state.refusal}")),
    ]  # fmt: skip
    lines = [words("outlet.title", outlet=state.outlet)]
    lines += [f"  {pad(words(f'field.{key}'), 14)} {value}" for key, value in rows]
    return "\n".join([*lines, *fault_lines(state, words)])


def faults(snapshot: Snapshot, words: Texts) -> str:
    """The cabinet's own fault and every outlet's: which, with which numbers, and what to do."""
    blocks = ["\n".join(fault_lines(state, words)) for state in snapshot.outlets if state.fault is not None]
    if snapshot.fault is not None:
        blocks.insert(0, "\n".join(cabinet_fault_lines(snapshot, words)))
    if not snapshot.contactor_closed:
        blocks.insert(0, words("contactor.open_line"))
    return "\n".join(blocks) if blocks else words("faults.none")


def faults_data(snapshot: Snapshot) -> dict[str, object]:
    """The same for a program."""
    return {
        "cabinet": {"fault": snapshot.fault, "latched": snapshot.latched, "why": snapshot.why, "siren": snapshot.siren},
        "contactor_closed": snapshot.contactor_closed,
        "outlets": [
            {"outlet": state.outlet, "fault": state.fault, "latched": state.latched, "why": state.why}
            for state in snapshot.outlets
            if state.fault is not None
        ],
    }


def cabinet_fault_lines(snapshot: Snapshot, words: Texts) -> list[str]:
    """The fault of the cabinet as a whole; empty without one."""
    if snapshot.fault is None:
        return []
    numbers = [f"  {quantities(snapshot.why, words)}"] if snapshot.why else []
    staff = f"  {words(f'fault.{snapshot.fault.value}.staff')}"
    return [_cabinet_fault("fault_line.cabinet", snapshot, words), *numbers, staff]


def _cabinet_fault(key: str, snapshot: Snapshot, words: Texts) -> str:
    """Its name, whether it is latched and whether the siren sounds; without a fault, only the siren is left to say."""
    return words(
        key,
        fault="-" if snapshot.fault is None else words(f"fault.{snapshot.fault.value}.name"),
        latched=words("latched_mark") if snapshot.latched else "",
        siren=words("status.siren") if snapshot.siren else "",
    )


def fault_lines(state: OutletState, words: Texts) -> list[str]:
    """The fault of one outlet; empty without one."""
    if state.fault is None:
        return []
    name = words(f"fault.{state.fault.value}.name")
    line = words("fault_line.latched" if state.latched else "fault_line.present", outlet=state.outlet, fault=name)
    numbers = [f"  {quantities(state.why, words)}"] if state.why else []
    return [line, *numbers, f"  {words(f'fault.{state.fault.value}.staff')}"]


def help_lines(rows: list[tuple[str, str]], words: Texts) -> str:
    """Usage and explanation of each command."""
    return "\n".join([*(f"  {pad(usage, 18)} {text}" for usage, text in rows), words("help_end")])


def _cabinet(snapshot: Snapshot, words: Texts, now_ns: int) -> list[str]:
    lines = [
        words(
            "status.supply",
            voltage=_reading(snapshot.mains_mv, 1000, 1, words),
            frequency=_reading(snapshot.frequency_mhz, 1000, 2, words),
            feed=figures.watts(snapshot.feed_mw),
            limit=figures.watts(snapshot.feed_limit_mw),
            inside=_reading(snapshot.inside_mc, 1000, 0, words),
            contactor=words("contactor.closed" if snapshot.contactor_closed else "contactor.open"),
        )
    ]
    if snapshot.fault is not None or snapshot.siren:
        lines.append(_cabinet_fault("status.cabinet", snapshot, words))
    age_ns = now_ns - snapshot.at_ns
    if age_ns > OLD_SNAPSHOT_NS:
        lines.insert(0, words("status.old", seconds=age_ns // NS))
    return lines


def _row(state: OutletState, words: Texts) -> str:
    count = state.charge_count
    cells = (
        str(state.outlet),
        words(_relay(state)),
        _reading(state.power_mw, 1000, 0, words),
        _reading(state.current_ma, 1000, 2, words),
        _reading(state.temperature_mc, 1000, 0, words),
        str(count.charging_ms // 60_000) if count.charging_ms else "-",
        figures.kwh(count.energy_mwh) if count.energy_mwh else "-",
    )
    row = "  ".join(pad(cell, columns) for cell, (_, columns) in zip(cells, _COLUMNS, strict=True))
    if state.fault is None:
        return f"{row}  {words(f'phase.{state.phase.value}')}"
    return f"{row}  {words(f'fault.{state.fault.value}.name')}{words('latched_mark') if state.latched else ''}"


def _health(snapshot: Snapshot, words: Texts) -> str:
    health = snapshot.health
    return words(
        "status.health",
        realtime=words("realtime.yes" if health.realtime else "realtime.no"),
        late=f"{health.late_worst_ever_us / 1000:.1f}",
        bus_errors=health.bus_errors,
        version=__version__,
    )


def _relay(state: OutletState) -> str:
    return "relay.closed" if state.closed else "relay.open"


def _reading(reading: Reading, divisor: int, decimals: int, words: Texts, unit: str = "") -> str:
    """The value, or the word for why there is none; a value too old to act on is in brackets."""
    if reading.quality is Quality.FAULT:
        reason = f" ({reading.reason})" if unit and reading.reason else ""
        return words("quality.fault") + reason
    if reading.value is None or reading.quality is Quality.ABSENT:
        return "-"
    value = f"{reading.value / divisor:.{decimals}f}"
    return f"({value}){unit}" if reading.quality is Quality.STALE else value + unit
