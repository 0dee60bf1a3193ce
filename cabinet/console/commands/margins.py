"""Margins of an outlet: the used share of each limit, nearest to a trip first. Pure."""

import msgspec

from cabinet.config import Config
from cabinet.model import OutletState, Reading
from cabinet.sections import milli

PERCENT = 100


class Nearness(msgspec.Struct, frozen=True):
    """Used share of one limit: `value` is `percent` of `limit`, both in the milli-units in `name`. None: unknown."""

    name: str
    value: int | None
    limit: int
    percent: int | None


def nearness(state: OutletState, config: Config) -> list[Nearness]:
    """Return the margins of an outlet in its present state, the nearest first; unknown values come last."""
    limits = config.protections
    place = config.outlet_by_number(state.outlet)
    low_mv, high_mv = milli(limits.voltage.lowest_v), milli(limits.voltage.highest_v)
    middle_mv = (low_mv + high_mv) // 2
    found = [
        _of("peak_ma", state.peak_ma, milli(limits.short_circuit.peak_a)),
        _of("current_ma", state.current_ma, milli(limits.overcurrent.rated_a)),
        _of("temperature_mc", state.temperature_mc, milli(limits.outlet_hot.trip_c)),
        _voltage(state.voltage_mv, low_mv, middle_mv, high_mv),
    ]
    if place is not None:
        found.append(_of("power_mw", state.power_mw, milli(place.max_power_w)))
    return sorted(found, key=lambda each: -1 if each.percent is None else each.percent, reverse=True)


def _of(name: str, reading: Reading, limit: int) -> Nearness:
    value = reading.value
    return Nearness(name, value, limit, None if value is None else max(0, value) * PERCENT // limit)


def _voltage(reading: Reading, low_mv: int, middle_mv: int, high_mv: int) -> Nearness:
    """Return the used share of the distance from the middle of the voltage band to the nearer bound."""
    value = reading.value
    limit = low_mv if value is not None and value < middle_mv else high_mv
    way = None if value is None else abs(value - middle_mv) * PERCENT // abs(limit - middle_mv)
    return Nearness("voltage_mv", value, limit, way)
