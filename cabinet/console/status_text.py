"""Console screens as text of at most 80 columns. Pure."""

import zoneinfo

import msgspec

from cabinet.clock import NS
from cabinet.config import Config
from cabinet.config.keys import OutletSection
from cabinet.console.accounts import Login
from cabinet.console.commands.margins import Nearness
from cabinet.console.terminal.columns import fold, pad, width
from cabinet.model import GuardHealth, OutletState, Quality, Reading, Snapshot
from cabinet.texts import Texts, number_format
from cabinet.texts.trip_values import trip_values_text

OLD_SNAPSHOT_NS = 2 * NS  # the guard scans all inputs many times a second

# columns of `status`: text key and width; negative is right-aligned
_COLUMNS = (("outlet", -3), ("relay", 7), ("w", -6), ("a", -7), ("c", -5), ("min", -5), ("kwh", -7))


class ComputerStatus(msgspec.Struct, frozen=True):
    """Status data that does not come from the guard. `service` None: it accepts charges; else the code why not."""

    clock: str
    trusted: bool
    disk_free_bytes: int | None
    up_s: int
    version: str
    system: str
    service: str | None
    unkept: int  # audit log rows of the console that the service has not stored yet
    attacker: str | None = None  # address of a recent attack on PINs or passwords
    problems: list[str] = []  # of the computer: texts `computer.<code>.name`
    uplink: str | None = None  # state of the link to the fleet; None: no fleet is configured


def status(snapshot: Snapshot, words: Texts, now_ns: int, machine: ComputerStatus) -> str:
    """Return the status of the whole cabinet; with ten outlets it fits on 24 lines."""
    title = "  ".join(pad(words(f"column.{key}"), columns) for key, columns in _COLUMNS)
    return "\n".join(
        [
            *_cabinet(snapshot, words, now_ns),
            f"{title}  {words('column.state')}",
            *(_row(state, words) for state in snapshot.outlets),
            _health(snapshot, words),
            _sensors(snapshot, words),
            *machine_lines(machine, words),
        ]
    )


def machine_lines(machine: ComputerStatus, words: Texts) -> list[str]:
    """Return lines for clock and trust, disk, versions; and for service, audit log or attack problems, if any."""
    trust = words("clock.right" if machine.trusted else "clock.not_right")
    free = "?" if machine.disk_free_bytes is None else f"{machine.disk_free_bytes / 1e9:.1f}"
    lines = [
        words("status.clock", clock=machine.clock, trust=trust, free=free),
        words("status.version", version=machine.version, system=machine.system, days=f"{machine.up_s / 86_400:.1f}"),
    ]
    if machine.service is not None:
        lines.append(words(f"status.service_{machine.service}"))
    if machine.uplink is not None:
        lines.append(words("status.uplink", state=words(f"uplink.{machine.uplink}")))
    if machine.unkept:
        lines.append(words("status.unkept", count=machine.unkept))
    if machine.attacker is not None:
        lines.append(words("status.attack", address=machine.attacker))
    if machine.problems:
        problems = ", ".join(words(f"computer.{code}.name") for code in machine.problems)
        lines.append(words("status.computer", problems=problems))
    return lines


def outlet(state: OutletState, config: Config, words: Texts, near: list[Nearness]) -> str:
    """Return all guard data of one outlet, with the limits that apply to it."""
    limits = config.protections
    place = config.outlet_by_number(state.outlet)

    def limited(of: Reading, decimals: int, unit: str, limit: float) -> str:
        return f"{reading(of, 1000, decimals, words, unit)}  {words('of_limit')} {limit:g}{unit}"

    rows = [
        ("relay", words(_relay(state))),
        ("phase", _doing(state, words)),
        ("session", state.session_id or "-"),
        ("power", reading(state.power_mw, 1000, 1, words, " W") if place is None else limited(
            state.power_mw, 1, " W", place.max_power_w)),
        ("current", limited(state.current_ma, 3, " A", limits.overcurrent.rated_a)),
        ("peak", limited(state.peak_ma, 2, " A", limits.short_circuit.peak_a)),
        ("voltage", reading(state.voltage_mv, 1000, 1, words, " V")),
        ("temperature", limited(state.temperature_mc, 1, " °C", limits.outlet_hot.trip_c)),
        ("charge", f"{number_format.minutes(state.charge_count.charging_ms // 1000)} min, "
                   f"{number_format.kwh(state.charge_count.energy_mwh)} kWh"),
        ("counter", f"{state.count.powered_ms / 3_600_000:.1f} h, {number_format.kwh(state.count.energy_mwh)} kWh"),
        ("wiring", "-" if place is None else f"{place.code}  {place.relay}  {place.alert or '-'}"),
        ("sensing", "-" if place is None else _sensing(place)),
        ("start", words("start.possible") if state.refusal is None else words(f"refusal.{state.refusal}")),
    ]  # fmt: skip
    lines = [words("outlet.title", outlet=state.outlet)]
    lines += [f"  {pad(words(f'field.{key}'), 14)} {value}" for key, value in rows]
    lines += _nearest(near, words)
    if state.note is not None:
        lines.append(words("outlet_do.note", note=state.note or "-"))
    if state.backwards:
        lines.append(words("outlet_do.backwards"))
    return "\n".join([*lines, *fault_lines(state, words)])


def _doing(state: OutletState, words: Texts) -> str:
    """Return the outlet's activity: its charge phase, a test by staff, or out of service."""
    if state.trial:
        return words("outlet_do.trial")
    if state.note is not None and not state.closed:
        return words("outlet_do.locked")
    return words(f"phase.{state.phase.value}")


def _sensing(place: OutletSection) -> str:
    """Return the bus positions of the meter and the thermometer."""
    meter, thermometer = place.meter, place.thermometer
    at = f"ADE7953 0x{meter.mux:02x}/{meter.channel}{meter.input}"
    if thermometer is None:
        return at
    return f"{at}  TMP102 0x{thermometer.mux:02x}/{thermometer.channel}@0x{thermometer.address:02x}"


def _nearest(near: list[Nearness], words: Texts) -> list[str]:
    """Return the measurements nearest to a trip, each with the used share of its limit."""
    known = [
        words("near.one", name=words(f"near.{each.name}"), percent=each.percent)
        for each in near
        if each.percent is not None
    ]
    return fold(f"{words('near.title')} {words('numbers.between').join(known)}", "  ") if known else []


def faults(snapshot: Snapshot, words: Texts) -> str:
    """Return the faults of cabinet and outlets: name, numbers, and action for staff."""
    blocks = ["\n".join(fault_lines(state, words)) for state in snapshot.outlets if state.fault is not None]
    if snapshot.fault is not None:
        blocks.insert(0, "\n".join(cabinet_fault_lines(snapshot, words)))
    if not snapshot.contactor_closed:
        blocks.insert(0, words("contactor.open_line"))
    return "\n".join(blocks) if blocks else words("faults.none")


def faults_data(snapshot: Snapshot) -> dict[str, object]:
    """Return the same data for a program."""
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
    """Return the lines of the cabinet-wide fault; empty if there is none."""
    if snapshot.fault is None:
        return []
    numbers = fold(trip_values_text(snapshot.why, words), "  ") if snapshot.why else []
    staff = fold(words(f"fault.{snapshot.fault.value}.staff"), "  ")
    return [_cabinet_fault("fault_line.cabinet", snapshot, words), *numbers, *staff]


def _cabinet_fault(key: str, snapshot: Snapshot, words: Texts) -> str:
    """Return the fault's name, marked if it is latched and if the siren sounds; without a fault only the siren mark."""
    return words(
        key,
        fault="-" if snapshot.fault is None else words(f"fault.{snapshot.fault.value}.name"),
        latched=words("latched_mark") if snapshot.latched else "",
        siren=words("status.siren") if snapshot.siren else "",
    )


def fault_lines(state: OutletState, words: Texts) -> list[str]:
    """Return the lines of one outlet's fault; empty if there is none."""
    if state.fault is None:
        return []
    name = words(f"fault.{state.fault.value}.name")
    line = words("fault_line.latched" if state.latched else "fault_line.present", outlet=state.outlet, fault=name)
    numbers = fold(trip_values_text(state.why, words), "  ") if state.why else []
    return [line, *numbers, *fold(words(f"fault.{state.fault.value}.staff"), "  ")]


def last_login(login: Login, words: Texts, zone: zoneinfo.ZoneInfo) -> str:
    """Return the time of the account's previous login and the number of failed attempts since."""
    wrong = words("login.failed_since", count=login.wrong) if login.wrong else ""
    if login.last is None:
        return words("login.first") + wrong
    at = number_format.local(login.last, zone).isoformat(" ", "minutes")[:16] + ("" if login.last.trusted else " ?")
    return words("login.last", at=at) + wrong


def help_lines(rows: list[tuple[str, str]], words: Texts) -> str:
    """Return usage and explanation of each command."""
    wide = max(width(usage) for usage, _ in rows)
    lines = []
    for usage, text in rows:
        first, *more = fold(text, " " * (wide + 4))
        lines += [f"  {pad(usage, wide)}{first[wide + 2 :]}", *more]
    return "\n".join([*lines, words("help_end")])


def _cabinet(snapshot: Snapshot, words: Texts, now_ns: int) -> list[str]:
    lines = [
        words(
            "status.supply",
            voltage=reading(snapshot.mains_mv, 1000, 1, words),
            frequency=reading(snapshot.frequency_mhz, 1000, 2, words),
            feed=number_format.watts(snapshot.feed_mw),
            limit=number_format.watts(snapshot.feed_limit_mw),
            inside=reading(snapshot.inside_mc, 1000, 0, words),
            contactor=words("contactor.closed" if snapshot.contactor_closed else "contactor.open"),
        )
    ]
    if snapshot.unmeasured:
        lines.append(words("status.unmeasured", outlets=", ".join(map(str, snapshot.unmeasured))))
    if snapshot.feed_compared is False:
        lines.append(words("status.not_compared"))
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
        reading(state.power_mw, 1000, 0, words),
        reading(state.current_ma, 1000, 2, words),
        reading(state.temperature_mc, 1000, 0, words),
        str(count.charging_ms // 60_000) if count.charging_ms else "-",
        number_format.kwh(count.energy_mwh) if count.energy_mwh else "-",
    )
    row = "  ".join(pad(cell, columns) for cell, (_, columns) in zip(cells, _COLUMNS, strict=True))
    if state.fault is None:
        return f"{row}  {_doing(state, words)}"
    return f"{row}  {words(f'fault.{state.fault.value}.name')}{words('latched_mark') if state.latched else ''}"


def _health(snapshot: Snapshot, words: Texts) -> str:
    health = snapshot.health
    return words(
        "status.health",
        realtime=words("realtime.yes" if health.realtime else "realtime.no"),
        late=f"{health.late_worst_us / 1000:.1f}",
        worst=f"{health.late_worst_ever_us / 1000:.1f}",
        left=_left_of_turn(health, words),
    )


def _left_of_turn(health: GuardHealth, words: Texts) -> str:
    """Return the share of the scan period that the work of a turn leaves; until it is known, the last scan's time."""
    if health.turn_p99_us is None or health.period_us == 0:
        return words("turn.scan", scan=f"{health.scan_us / 1000:.1f}")
    if health.turn_p99_us > health.period_us:
        took, period = f"{health.turn_p99_us / 1000:.1f}", f"{health.period_us / 1000:.1f}"
        return words("turn.over", took=took, period=period)
    return words("turn.left", percent=100 - 100 * health.turn_p99_us // health.period_us)


def _sensors(snapshot: Snapshot, words: Texts) -> str:
    return words(
        "status.sensors",
        bus_errors=snapshot.health.bus_errors,
        bus="" if snapshot.health.bus_hz is None else words("status.bus", khz=snapshot.health.bus_hz // 1000),
        sensors=sum(_measured(state) for state in snapshot.outlets),
        outlets=len(snapshot.outlets),
    )


def _measured(state: OutletState) -> bool:
    """Return True if every sensor fitted at this outlet has a valid reading."""
    readings = (state.peak_ma, state.current_ma, state.voltage_mv, state.power_mw, state.temperature_mc)
    return all(each.quality in (Quality.OK, Quality.ABSENT) for each in readings)


def _relay(state: OutletState) -> str:
    return "relay.closed" if state.closed else "relay.open"


def reading(of: Reading, divisor: int, decimals: int, words: Texts, unit: str = "") -> str:
    """Return the value, or the word for the reason if there is none; a stale value is in brackets."""
    if of.quality is Quality.FAULT:
        reason = f" ({of.reason})" if unit and of.reason else ""
        return words("quality.fault") + reason
    if of.value is None or of.quality is Quality.ABSENT:
        return "-"
    value = f"{of.value / divisor:.{decimals}f}"
    return f"({value}){unit}" if of.quality is Quality.STALE else value + unit
