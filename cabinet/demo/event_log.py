"""Differences between two snapshots of the guard, as lines for the terminal of `cabinet run`. Pure."""

from cabinet.model import OutletState, Phase, Snapshot
from cabinet.texts import Texts, number_format
from cabinet.texts.trip_values import trip_values_text


def event_lines(before: Snapshot | None, after: Snapshot, words: Texts) -> list[str]:
    """Return one line an event, in the order of the outlets; empty if there is nothing to report.

    If `before` is None, the lines report the present deviations from idle.
    """
    earlier = {} if before is None else {state.outlet: state for state in before.outlets}
    lines = []
    if before is not None and before.guard_run != after.guard_run:
        lines.append("a new guard has taken over: every outlet was open in between")
    if before is not None and before.contactor_closed != after.contactor_closed:
        lines.append(f"contactor {'closed' if after.contactor_closed else 'OPEN: no outlet has power'}")
    for state in after.outlets:
        lines.extend(f"outlet {state.outlet:>2}  {line}" for line in _outlet(earlier.get(state.outlet), state, words))
    return lines


def _outlet(before: OutletState | None, after: OutletState, words: Texts) -> list[str]:
    lines = []
    phase_before = Phase.IDLE if before is None else before.phase
    fault_before = None if before is None else before.fault
    if after.phase != phase_before:
        if after.phase is Phase.WAITING_FOR_LOAD:
            lines.append("closed, waiting for a load")
        elif after.phase is Phase.CHARGING:
            lines.append("charging")
        elif after.fault is None:
            lines.append(f"charge ended{_used(after)}")
    if after.fault is not None and after.fault is not fault_before:
        name = words(f"fault.{after.fault.value}.name")
        why = f" ({trip_values_text(after.why, words)})" if after.why else ""
        latched = ", latched until staff clear it" if after.latched else ""
        ended = f"; charge ended{_used(after)}" if phase_before is not Phase.IDLE else ""
        lines.append(f"TRIPPED: {name}{why}{latched}{ended}")
    if after.fault is None and fault_before is not None:
        lines.append("latch cleared" if before is not None and before.latched else "recovered by itself")
    return lines


def _used(state: OutletState) -> str:
    count = state.charge_count
    minutes, kwh = number_format.minutes(count.charging_ms // 1000), number_format.kwh(count.energy_mwh)
    return f": {minutes} min of charging, {kwh} kWh"
