"""Charging time, limits and bills of chargers as they are, through the real guard and drivers."""

import pytest

from cabinet.billing.tariff import Band, Period, Slice, Tariff, add_slice, no_use, price, total_fen
from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done, Energise
from cabinet.model import ChargeLimits, EndReason, EventKind, Phase
from cabinet.sim.waveform import Shape
from cabinet_testing.sim_cabinet import NO_HEARTBEAT, NO_LIMITS, SimCabinet, demo_config
from cabinet_testing.sim_habits import HOUR, HabitLoad, charge, paused, pulsing, woken

HALF_HOURS = Tariff(version="v", bands=(Band(0, None, 18),), periods=(Period(0, 1440, 0),), time_step_s=1800)

pytestmark = pytest.mark.slow


@pytest.fixture
def sim(tmp_path):
    sim = SimCabinet(tmp_path, demo_config(NO_HEARTBEAT, outlets=2))
    yield sim
    sim.close()


def begin(sim, outlet, curve, limits=NO_LIMITS, step_s=5.0, **kwargs):
    """Plug in and start; returns when the relay has closed. The curve is read every `step_s`."""
    sim.world.plug(outlet, HabitLoad("habit", curve, step_s, **kwargs))
    assert isinstance(sim.start(outlet, limits=limits), Done)
    assert sim.run(2 * NS, until=lambda: sim.world.truth(outlet).power_mw > 0)


def to_the_end(sim, outlet, hours=12.0):
    assert sim.stride(int(hours * HOUR) * NS, 10 * NS, until=lambda: sim.ended(outlet))
    return sim.events(outlet, EventKind.ENDED, EventKind.TRIPPED)[-1]


def cost_fen(count) -> int:
    use = add_slice(HALF_HOURS, no_use(HALF_HOURS), Slice(count.charging_ms, count.energy_mwh, (0, 0)))
    return total_fen(price(HALF_HOURS, use))


def test_plug_pulled_after_an_hour_costs_two_half_hours(sim):
    begin(sim, 1, lambda t: 160.0)
    start_ns = sim.clock.monotonic_ns()
    sim.run(2 * NS)
    hour_is_over = lambda rest_s: sim.clock.monotonic_ns() >= start_ns + (HOUR - rest_s) * NS  # noqa: E731
    sim.stride(3600 * NS, 10 * NS, until=lambda: hour_is_over(15))
    sim.run(15 * NS, until=lambda: hour_is_over(0))
    sim.world.unplug(1)
    sim.run(5 * NS)
    end = to_the_end(sim, 1)
    assert end.reason is EndReason.UNPLUGGED
    assert 3_598_000 <= end.charge_count.charging_ms <= 3_601_000
    assert cost_fen(end.charge_count) == 18


@pytest.mark.parametrize("idle_w", [0.8, 3.0])
def test_idle_charger_costs_the_hour_it_charged(sim, idle_w):
    begin(sim, 1, lambda t: 160.0 if t < HOUR else idle_w)
    end = to_the_end(sim, 1)
    assert end.reason in (EndReason.FULL, EndReason.ENDED_BY_LOAD)
    assert 3_570_000 <= end.charge_count.charging_ms <= 3_600_000
    assert cost_fen(end.charge_count) == 18


def test_charger_that_wakes_late_after_an_inrush_is_waited_for(sim):
    begin(sim, 1, woken(charge(160, 0.1, 0.02), 90), step_s=0.5)
    sim.run(10 * NS)
    sim.stride(70 * NS, NS)
    assert sim.outlet(1).phase is Phase.WAITING_FOR_LOAD
    assert to_the_end(sim, 1).reason is EndReason.FULL


def test_charger_that_never_wakes_is_not_charged_for(sim):
    begin(sim, 1, woken(charge(160, 0.1, 0.02), 900), step_s=0.5)
    end = to_the_end(sim, 1)
    assert end.reason is EndReason.NO_LOAD
    assert end.charge_count.charging_ms == 0


def test_idle_charger_that_tests_itself_is_full_after_its_half_hour(sim):
    begin(sim, 1, pulsing(charge(160, 0.2, 0.05), 45, 120), step_s=0.3)
    sim.stride(1200 * NS, 10 * NS)  # low since about 1100 s
    for _ in range(11):
        sim.run(2 * NS)  # some of the pulses at the full rate
        sim.stride(118 * NS, 2 * NS)
    end = to_the_end(sim, 1, hours=0.5)
    assert end.reason is EndReason.FULL
    assert end.charge_count.powered_ms < 3_000_000


def test_charger_that_idles_beside_a_strong_one_stays_plugged_in(sim):
    """The empty outlet has shown before that the neighbour's 800 W do not show there."""
    begin(sim, 2, lambda t: 800.0)
    sim.run(4 * NS)
    begin(sim, 1, lambda t: 160.0 if t < 600 else 2.0)
    sim.run(2 * NS)
    sim.stride(2400 * NS, 10 * NS)
    assert not sim.ended(1)


@pytest.mark.parametrize("factor", [0.62, 0.68])
def test_charger_of_971_watts_goes_on(sim, factor):
    """Its power factor is about 0.65: 6.5 to 7.2 A."""
    begin(sim, 1, lambda t: 971.0, shape=Shape.of(2.3, factor))
    sim.run(20 * NS)
    sim.stride(1200 * NS, 10 * NS)
    assert not sim.ended(1)


def test_what_was_bought_lasts_through_a_pause_and_is_counted_to_the_second(sim):
    begin(sim, 1, paused(lambda t: 160.0, 600, 1200), ChargeLimits(charging_s=1200))
    sim.stride(2390 * NS, 10 * NS)
    assert not sim.ended(1)
    assert sim.run(60 * NS, until=lambda: sim.ended(1))
    end = sim.events(1)[-1]
    assert end.reason is EndReason.LIMIT_TIME
    assert 1_200_000 <= end.charge_count.charging_ms < 1_201_000


def test_charge_that_goes_on_under_a_new_guard_counts_no_second_twice(sim):
    begin(sim, 1, lambda t: 160.0)
    sim.run(2 * NS)
    sim.stride(600 * NS, 10 * NS)
    before = sim.outlet(1).charge_count
    sim.boot()
    used = before
    command = Energise(
        99, 1, "s1", NO_LIMITS, used.charging_ms, used.energy_mwh, used.powered_ms, had_load=True
    )  # fmt: skip
    assert isinstance(sim.guard.handle(command), Done)
    sim.run(500 * MS)
    assert sim.outlet(1).charge_count.charging_ms - before.charging_ms < 1000
    sim.run(10 * NS)
    gained_ms = sim.outlet(1).charge_count.charging_ms - before.charging_ms
    assert 8_500 <= gained_ms <= 10_500
