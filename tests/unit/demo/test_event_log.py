"""The lines of `cabinet run` for what happens between two snapshots."""

import msgspec
import pytest

from cabinet.demo.event_log import event_lines
from cabinet.model import Fault, MeterCount, Phase
from cabinet.texts import Texts
from cabinet.texts.trip_values import number_with_unit, trip_values_text
from cabinet_testing.console_snapshots import CHARGING, SHORTED, ok, outlet, snapshot

WORDS = Texts("common", "en")

WAITING = outlet(3, closed=True, phase=Phase.WAITING_FOR_LOAD, session_id="S-1")
ENDED = outlet(3, charge_count=MeterCount(123_456, 750_000, 738_000))
SHORTED_3 = outlet(
    3,
    fault=Fault.SHORT_CIRCUIT,
    latched=True,
    why={"peak_ma": 61_200, "limit_ma": 30_000},
    charge_count=MeterCount(123_456, 750_000, 738_000),
)
BLIND = outlet(3, fault=Fault.SENSOR_LOST)
SHORT = "TRIPPED: Short circuit (peak 61.2 A, limit 30 A), latched until staff clear it"

TABLE = {
    "nothing": (outlet(3), outlet(3), []),
    "only numbers move": (CHARGING, msgspec.structs.replace(CHARGING, power_mw=ok(90_000)), []),
    "started": (outlet(3), WAITING, ["closed, waiting for a load"]),
    "load seen": (WAITING, CHARGING, ["charging"]),
    "started and seen between two snapshots": (outlet(3), CHARGING, ["charging"]),
    "ended": (CHARGING, ENDED, ["charge ended: 12.3 min of charging, 0.123 kWh"]),
    "short while charging": (CHARGING, SHORTED_3, [f"{SHORT}; charge ended: 12.3 min of charging, 0.123 kWh"]),
    "short while idle": (outlet(3), SHORTED_3, [SHORT]),
    "latched already": (SHORTED_3, SHORTED_3, []),
    "cleared": (SHORTED_3, ENDED, ["latch cleared"]),
    "sensor lost": (outlet(3), BLIND, ["TRIPPED: Sensor lost"]),
    "sensor back": (BLIND, outlet(3), ["recovered by itself"]),
}


@pytest.mark.parametrize(("before", "after", "lines"), TABLE.values(), ids=TABLE)
def test_outlet(before, after, lines):
    assert event_lines(snapshot(before), snapshot(after), WORDS) == [f"outlet  3  {line}" for line in lines]


def test_first_snapshot_shows_what_stands_out():
    assert event_lines(None, snapshot(CHARGING, SHORTED), WORDS) == [
        "outlet  3  charging",
        "outlet  5  TRIPPED: Short circuit (peak 61.2 A, limit 30 A), latched until staff clear it",
    ]
    assert event_lines(None, snapshot(), WORDS) == []


def test_new_guard_and_contactor_are_lines_of_their_own():
    after = snapshot(guard_run="run-2", contactor_closed=False)
    assert event_lines(snapshot(), after, WORDS) == [
        "a new guard has taken over: every outlet was open in between",
        "contactor OPEN: no outlet has power",
    ]
    assert event_lines(after, snapshot(guard_run="run-2"), WORDS) == ["contactor closed"]


def test_numbers_carry_the_unit_of_their_name():
    values = {
        "peak_ma": 61_234,
        "voltage_mv": 220_100,
        "power_mw": -500,
        "temperature_mc": 75_000,
        "rise_mk_per_min": 8_250,
        "late_us": 51_300,
        "within_ms": 80,
        "energy_uj": 2_500_000,
        "half_cycles": 2,
        "tiny_ma": 0,
    }
    assert trip_values_text(values, WORDS) == (
        "peak 61.234 A, voltage 220.1 V, power -0.5 W, temperature 75 °C, rise 8.25 K/min, late 51.3 ms, "
        "within 80 ms, energy 2.5 J, half cycles 2, tiny 0 A"
    )
    assert number_with_unit("_ma", 1000) == "1 A"
