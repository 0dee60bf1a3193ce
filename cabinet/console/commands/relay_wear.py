"""`wear` and `maintenance`: relay wear, and due maintenance. Pure except for the requests to the guard."""

import datetime

import msgspec

from cabinet.clock import NS
from cabinet.console.accounts import Level
from cabinet.console.command import CommandContext, CommandResult, Output, command
from cabinet.console.terminal.columns import fold, pad
from cabinet.maintenance import PPB, Attribution, MaintenanceState, OutletMaintenance, RelayWear
from cabinet.model import CABINET, Snapshot
from cabinet.system.computer_state import all_problems
from cabinet.texts import Texts

RESIDUAL_OVERDUE_NS = 48 * 3600 * NS  # the guard tests once a day, while no charge is active
MANY_BUS_ERRORS = 100


class WearRow(msgspec.Struct, frozen=True):
    """Wear of one relay; `left`: operations, None if there is no basis for an estimate yet."""

    outlet: int
    operations: int
    used_percent: float
    left: int | None
    replace: bool
    replaced: Attribution | None


class Due(msgspec.Struct, frozen=True):
    """One due maintenance task: text `due.<code>`; outlet 0 is the cabinet."""

    code: str
    outlet: int = CABINET
    params: dict[str, int | str] = {}


def rows(maintenance_state: MaintenanceState) -> list[WearRow]:
    return [_row(page.outlet, page.wear, maintenance_state.warn_ppb) for page in maintenance_state.outlets]


def _row(outlet: int, wear: RelayWear, warn_ppb: int) -> WearRow:
    known = wear.operations > 0 and wear.used_ppb > 0
    left = max(0, (PPB - wear.used_ppb) * wear.operations // wear.used_ppb) if known else None
    used = round(100 * wear.used_ppb / PPB, 2)
    return WearRow(outlet, wear.operations, used, left, wear.used_ppb >= warn_ppb, wear.replaced)


def due(maintenance_state: MaintenanceState, snapshot: Snapshot, late_us: int) -> list[Due]:
    """Return the due tasks, the urgent first. A guard that was ever later than `late_us` opened every outlet then."""
    found = [Due("damaged", params={"file": maintenance_state.damaged})] if maintenance_state.damaged else []
    if maintenance_state.unwritten:
        found.append(Due("unwritten", params={"files": ", ".join(maintenance_state.unwritten)}))
    if snapshot.fault is not None:
        found.append(Due("cabinet_fault"))
    found += [Due("latched", state.outlet) for state in snapshot.outlets if state.latched]
    for row in rows(maintenance_state):
        if row.replace:
            found.append(Due("relay", row.outlet, {"percent": f"{row.used_percent:.0f}"}))
    if maintenance_state.contactor_held is not None:
        found.append(Due("contactor_held", params={"who": maintenance_state.contactor_held.who}))
    outlets = maintenance_state.outlets
    found += [Due("locked", page.outlet, {"note": page.note or "-"}) for page in outlets if page.note is not None]
    found += _residual_due(maintenance_state, snapshot)
    found += [Due("backwards", state.outlet) for state in snapshot.outlets if state.backwards]
    found += [Due("no_thermometer", state.outlet) for state in snapshot.outlets if state.temperature_mc.value is None]
    found += [Due("calibrate", page.outlet) for page in outlets if _relay_new(page)]
    if snapshot.health.late_worst_ever_us > late_us:
        found.append(Due("late", params={"ms": snapshot.health.late_worst_ever_us // 1000}))
    if snapshot.health.bus_errors > MANY_BUS_ERRORS:
        found.append(Due("bus", params={"errors": snapshot.health.bus_errors}))
    return found


def kept(context: CommandContext, text: str) -> str:
    """Return `text`, with a warning if a file is unwritten: a restart would lose the change."""
    files = context.guard.maintenance_state().unwritten
    return "\n".join([text, context.words("due.unwritten", files=", ".join(files))]) if files else text


def _residual_due(maintenance_state: MaintenanceState, snapshot: Snapshot) -> list[Due]:
    if not maintenance_state.residual_test_fitted:
        return []
    if maintenance_state.residual_failed:
        return [Due("residual_failed")]
    since_ns = maintenance_state.residual_passed_at_ns or snapshot.health.started_at_ns
    return [Due("residual")] if maintenance_state.at_ns - since_ns > RESIDUAL_OVERDUE_NS else []


def _relay_new(page: OutletMaintenance) -> bool:
    """Return True if the relay was replaced after the last calibration.

    Contact resistance does not affect the meter, but a replacement disturbs the sensor's wires.
    """
    replaced, calibrated = page.wear.replaced, page.calibration
    return replaced is not None and (calibrated is None or calibrated.signed.unix_ms < replaced.unix_ms)


@command("wear", Level.LOOK, reads=True)
def wear(context: CommandContext) -> CommandResult:
    maintenance_state = context.guard.maintenance_state()
    found = rows(maintenance_state)
    words = context.words
    title = "  ".join([pad(words("wear.outlet"), -3), pad(words("wear.operations"), -10), pad(words("wear.used"), -8),
                       pad(words("wear.left"), -11), words("wear.replaced")])  # fmt: skip
    lines = [title, *(_wear_line(row, words, context.zone) for row in found)]
    lines.append(words("wear.contactor", operations=maintenance_state.contactor_operations))
    lines.append(words("wear.basis", percent=f"{100 * maintenance_state.warn_ppb / PPB:.0f}"))
    return Output("\n".join(lines), {"relays": found, "contactor_operations": maintenance_state.contactor_operations})


def _wear_line(row: WearRow, words: Texts, zone: datetime.tzinfo) -> str:
    cells = [pad(str(row.outlet), -3), pad(str(row.operations), -10), pad(f"{row.used_percent:.2f} %", -8),
             pad("-" if row.left is None else str(row.left), -11)]  # fmt: skip
    note = words("wear.due") if row.replace else signed_text(row.replaced, zone)
    return "  ".join([*cells, note]).rstrip()


def signed_text(signed: Attribution | None, zone: datetime.tzinfo) -> str:
    """Return day and name, such as `2026-11-25 console:tech`, marked if the clock was untrusted; empty for None."""
    if signed is None:
        return ""
    day = datetime.datetime.fromtimestamp(signed.unix_ms / 1000, zone).strftime("%Y-%m-%d")
    return f"{day}{'' if signed.trusted else '?'} {signed.who}"


@command("maintenance", Level.LOOK, reads=True)
def maintenance(context: CommandContext) -> CommandResult:
    late_us = round(1e6 * context.config.protections.guard_late.after_s)
    snapshot = context.guard.snapshot()
    found = due(context.guard.maintenance_state(), snapshot, late_us)
    if (unclosed := context.backends.unclosed()) is not None:
        found.append(Due(f"unclosed_{unclosed[1]}", params={"month": unclosed[0]}))
    words = context.words
    lines = [words(f"due.{each.code}", outlet=each.outlet, **each.params) for each in found]
    for problem in all_problems(context.config, snapshot.health):
        found.append(Due(f"computer_{problem}"))
        lines += fold(words(f"computer.{problem}.staff"))
    return Output("\n".join(lines) if lines else words("due.nothing"), found)
