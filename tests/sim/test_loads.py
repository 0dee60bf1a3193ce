"""Loads: curves of chargers over whole charges, recordings, heaters, and refused requests."""

import itertools
import time
from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.errors import SimError
from cabinet.sim.batteries import HEALTHY, KINDS
from cabinet.sim.catalogue import catalogue, make_load
from cabinet.sim.loads import read_recording
from cabinet_testing.sim_hardware import SimHardware

RECORDING = Path(__file__).parents[1] / "data" / "charge-scooter-36v-lithium.csv"
MINUTE_MS = 60_000


def whole_charge(load: str, charge: float | None, minutes: int, step_ms: float = MINUTE_MS) -> list[tuple[str, float]]:
    """Stage and watts at every step of a charge from `charge` percent."""
    cabinet = SimHardware()
    cabinet.always_supplied()
    cabinet.close(1)
    cabinet.world.plug(1, make_load(load, charge))
    course = []
    for _ in range(round(minutes * MINUTE_MS / step_ms)):
        cabinet.wait_ms(step_ms)
        truth = cabinet.world.truth(1)
        course.append((truth.stage or "", truth.power_mw / 1000))
    return course


@pytest.mark.parametrize(("load", "watts", "turn_watts", "hours"), [
    ("lead-acid-36v12ah", 92, 15, (7.5, 9.0)),  # 1.8 A to 44.4 V, 0.3 A, at 87 %
    ("lead-acid-48v20ah", 204, 37, (7.0, 9.0)),  # 3 A to 59.2 V, 0.55 A
    ("lithium-48v", 186, 12, (5.0, 7.0)),
    ("lithium-60v", 397, 32, (4.5, 6.5)),
])  # fmt: skip
def test_a_charge_rises_through_constant_current_tapers_and_ends(
    load: str, watts: float, turn_watts: float, hours: tuple[float, float]
) -> None:
    course = whole_charge(load, 5, 12 * 60)
    constant = [power for stage, power in course if stage == "constant current"]
    assert constant == sorted(constant), "power rises with the battery's voltage"
    assert 1.05 < constant[-1] / constant[len(constant) // 6] < 1.15
    taper = [power for stage, power in course if stage == "constant voltage"]
    assert taper == sorted(taper, reverse=True)
    assert taper[0] == pytest.approx(watts, rel=0.03)
    assert taper[-1] == pytest.approx(turn_watts, rel=0.12)
    assert hours[0] * 60 < len(constant) + len(taper) < hours[1] * 60
    stages = list(dict.fromkeys(stage for stage, _ in course))
    ending = {"lead-acid-36v12ah": ["float"], "lead-acid-48v20ah": ["float", "done"]}.get(load, ["done"])
    assert stages == ["constant current", "constant voltage", *ending]
    assert 1.0 <= course[-1][1] <= 3.5, "standby or trickle"


def test_float_falls_and_the_48_v_charger_switches_off_after_two_to_three_hours() -> None:
    course = whole_charge("lead-acid-48v20ah", 5, 12 * 60)
    floating = [power for stage, power in course if stage == "float"]
    assert 2 * 60 <= len(floating) <= 3 * 60
    assert 30 < floating[0] <= 35
    assert floating == sorted(floating, reverse=True)
    assert course[-1] == ("done", 2.0)


def test_the_demo_battery_is_full_in_about_two_minutes_from_40_percent() -> None:
    course = whole_charge("demo", None, 3, step_ms=1000)
    full_s = next(second for second, (stage, _) in enumerate(course) if stage == "done")
    assert 90 <= full_s <= 135
    assert max(power for _, power in course) == pytest.approx(150, rel=0.03)
    assert course[-1][1] >= 1.6, "more than an unplugged outlet"


def test_eight_hours_of_every_charger_at_once_take_seconds() -> None:
    cabinet = SimHardware()
    cabinet.always_supplied()
    cabinet.close(*range(1, 6))
    plain = dict(itertools.islice(HEALTHY.items(), 5))
    for outlet, name in enumerate(plain, start=1):
        cabinet.world.plug(outlet, make_load(name, 10))
    begun_s = time.perf_counter()
    cabinet.wait_ms(8 * 60 * MINUTE_MS)
    print(f"eight hours of {len(plain)} chargers in {time.perf_counter() - begun_s:.2f} s")
    for outlet, kind in enumerate(plain.values(), start=1):
        truth = cabinet.world.truth(outlet)
        assert truth.stage in ("float", "done")
        stored_ah = kind.capacity_ah * ((truth.charge_percent or 0) - 10) / 100
        into_battery_wh = stored_ah * kind.charge_factor * kind.full_v * 0.96
        at_most_wh = into_battery_wh / kind.efficiency + kind.standby_w * 8
        assert 0.95 * into_battery_wh / kind.efficiency < truth.energy_mwh / 1000 < 1.03 * at_most_wh


def test_energy_does_not_depend_on_how_often_somebody_looks() -> None:
    energies = []
    for step_ms in (1000.0, 7_777.0, 3 * MINUTE_MS):
        cabinet = SimHardware()
        cabinet.always_supplied()
        cabinet.close(1)
        cabinet.world.plug(1, make_load("lithium-48v", 80))
        start_ns = cabinet.world.sync()
        while cabinet.world.sync() + step_ms * 1e6 <= start_ns + 30 * 60 * NS:
            cabinet.wait_ms(step_ms)
            cabinet.world.state()
        cabinet.clock.sleep_until(start_ns + 30 * 60 * NS)
        energies.append(cabinet.world.truth(1).energy_uj)
    assert max(energies) - min(energies) <= 5


def test_a_charger_goes_on_where_it_was_when_mains_comes_back() -> None:
    cabinet = SimHardware()
    cabinet.always_supplied()
    cabinet.world.plug(1, make_load("lithium-48v", 50))
    cabinet.close(1)
    cabinet.wait_ms(30 * MINUTE_MS)
    charge = cabinet.world.truth(1).charge_percent
    cabinet.coils()
    cabinet.wait_ms(60 * MINUTE_MS)
    assert cabinet.world.truth(1).charge_percent == pytest.approx(charge, abs=0.05)
    cabinet.coils(1)
    cabinet.wait_ms(500)
    assert cabinet.world.truth(1).stage == "starting"
    assert cabinet.world.truth(1).power_mw < 3000
    cabinet.wait_ms(500)
    assert cabinet.world.truth(1).stage == "constant current"


def test_a_full_battery_put_on_again_is_found_full() -> None:
    cabinet = SimHardware()
    cabinet.always_supplied()
    cabinet.close(1)
    cabinet.world.plug(1, make_load("lithium-48v", 100))
    cabinet.wait_ms(2000)
    assert cabinet.world.truth(1).stage == "done"


@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_a_recording_is_played_as_it_was_measured(speed: float) -> None:
    rows = read_recording(RECORDING)
    assert len(rows) == 308
    cabinet = SimHardware()
    cabinet.always_supplied()
    cabinet.close(1)
    start_ns = cabinet.world.sync()
    cabinet.world.plug(1, make_load(f"replay:{RECORDING}", speed=speed))
    seen = []
    for seconds, _ in rows:
        cabinet.clock.sleep_until(start_ns + round((seconds / speed + 0.01) * NS))
        seen.append(cabinet.world.truth(1).power_mw / 1000)
    assert seen == pytest.approx([watts for _, watts in rows], abs=1e-3)
    energy = sum(watts * (later - now) for (now, watts), (later, _) in itertools.pairwise(rows))
    assert cabinet.world.truth(1).energy_uj / 1e6 * speed == pytest.approx(energy, rel=2e-3)


def test_a_recording_stands_still_without_mains() -> None:
    cabinet = SimHardware()
    cabinet.always_supplied()
    cabinet.world.plug(1, make_load(f"replay:{RECORDING}"))
    cabinet.wait_ms(10 * MINUTE_MS)
    assert cabinet.world.truth(1).stage == "row 1 of 308"
    cabinet.close(1)
    cabinet.wait_ms(10 * MINUTE_MS)
    assert cabinet.world.truth(1).power_mw > 70_000


@pytest.mark.parametrize(("text", "charge", "speed", "problem"), [
    ("lead-acid-48v20a", None, 1.0, "no load named 'lead-acid-48v20a'; did you mean lead-acid-48v20ah?"),
    ("", None, 1.0, "no load named ''"),
    ("demo", 101.0, 1.0, "0 to 100 percent, not 101"),
    ("demo", None, 0.0, "--speed is more than 0"),
    ("demo", None, 1e6, "--speed is more than 0 and at most 10000"),
    ("demo:2", None, 1.0, "no load named 'demo:2'"),
    ("resistor:hot", None, 1.0, "a resistor takes watts, not 'hot'"),
    ("resistor:-5", None, 1.0, "more than 0"),
    ("resistor:500", 40.0, 1.0, "--charge is for chargers"),
    ("resistor:500", None, 2.0, "--speed is for chargers and recordings"),
    ("replay:/no/such.csv", None, 1.0, "/no/such.csv: cannot be read"),
])  # fmt: skip
def test_an_impossible_load_is_refused_in_one_line(text: str, charge: float | None, speed: float, problem: str) -> None:
    with pytest.raises(SimError) as caught:
        make_load(text, charge, speed)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "problem"), [
    ("a,b\n1,2\n", "needs the columns timestamp (ms) and value (W)"),
    ("timestamp,value\n", "no rows"),
    ("timestamp,value\n0,5\n1000,much\n", "line 3 is not a time in ms and 0 to 50000 W"),
    ("timestamp,value\n0,5\n1000,nan\n", "line 3"),
    ("timestamp,value\n0,5\n1000\n", "line 3"),
    ("timestamp,value\n0,-1\n", "line 2"),
    ("timestamp,value\n1000,5\n1000,6\n", "the timestamps do not rise"),
])  # fmt: skip
def test_a_bad_recording_is_refused_with_its_line(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(SimError) as caught:
        make_load(f"replay:{path}")
    assert problem in str(caught.value)


def test_a_recording_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SimError, match="not UTF-8"):
        make_load(f"replay:{path}")


def test_the_catalogue_names_every_load_that_can_be_made() -> None:
    names = [name for name, _ in catalogue()]
    assert names == [*KINDS, "random:SEED", "resistor:WATTS", "replay:FILE.csv"]
    assert all(text for _, text in catalogue())
