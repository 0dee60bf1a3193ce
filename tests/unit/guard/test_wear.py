"""Wear of relays and calibration of meters, over the simulated cabinet."""

import pytest

from cabinet.clock import MS, NS
from cabinet.guard.wear import RelayLife
from cabinet.link import guard_protocol
from cabinet.link.guard_protocol import (
    ReplaceRelay,
    SetGains,
    StartTestCharge,
)
from cabinet.maintenance import (
    PPB,
    Attribution,
    Calibration,
    Gains,
    MaintenanceState,
    OutletMaintenance,
    RelayWear,
)
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_maintenance import WHO, ask, charging, page_of


@pytest.fixture
def sim(prepared):
    return prepared(demo_config(outlets=6))


LIFE = RelayLife(rated_ma=16_000, electrical_operations=100_000, mechanical_operations=10_000_000)


@pytest.mark.parametrize(
    ("broken_ma", "operations"),
    [(0, 10_000_000), (2_000, 740_000), (16_000, 99_000), (32_000, 24_900), (None, 99_000)],
)
def test_life_lasts_as_many_operations_as_the_current_allows(broken_ma, operations):
    assert PPB // LIFE.used_ppb(broken_ma) == pytest.approx(operations, rel=0.02)


def test_life_left_follows_what_was_seen():
    assert LIFE.left(0, 0) is None
    assert LIFE.left(PPB // 4, 1000) == 3000
    assert LIFE.left(2 * PPB, 1000) == 0


def test_each_operation_is_counted_by_what_it_broke_and_kept(sim):
    clicked = page_of(sim, 3).wear
    assert (clicked.operations, clicked.used_ppb) == (1, 100), "the self-test breaks nothing"
    charging(sim, 3)
    sim.run(2 * NS)
    sim.stop(3)
    sim.run(NS)
    used = page_of(sim, 3).wear
    assert used.operations == 2
    assert used.used_ppb - clicked.used_ppb == pytest.approx(LIFE.used_ppb(2273), rel=0.02)
    sim.stop_guard()
    sim.boot()
    assert page_of(sim, 3).wear.operations == 3, "and the new guard's click"
    assert page_of(sim, 3).wear.used_ppb == used.used_ppb + 100


@pytest.mark.after(charging, 3)
def test_short_costs_more_than_a_charge(sim):
    before = page_of(sim, 3).wear.used_ppb
    sim.world.fault(3, "short", amps=60)
    assert sim.run(NS, until=lambda: sim.outlet(3).latched)
    sim.run(NS)
    assert page_of(sim, 3).wear.used_ppb - before > LIFE.used_ppb(50_000)


def test_relay_near_its_end_is_warned_of_once_and_a_new_one_starts_at_zero(sim, caplog):
    sim.guard.maintenance_control.records.record(3).used_ppb = 8 * PPB // 10 - 50
    for _ in range(2):
        assert ask(sim, StartTestCharge, 3, 1) is None
        sim.run(2 * NS)
    assert caplog.text.count("outlet 3: its relay has used 80 % of its life") == 1
    assert page_of(sim, 3).wear.used_ppb >= sim.guard.maintenance_state().warn_ppb
    assert ask(sim, ReplaceRelay, 3) is None
    wear = page_of(sim, 3).wear
    assert (wear.operations, wear.used_ppb, wear.replaced.who) == (0, 0, WHO)


@pytest.mark.after(charging, 3)
def test_relay_is_not_replaced_under_a_charge(sim):
    assert ask(sim, ReplaceRelay, 3) == "outlet_busy"


def mean_mw(sim: SimCabinet) -> float:
    """Outlet 3's power over two seconds, when it has settled: single readings carry the ripple of twice the mains."""
    sim.run(NS)
    values = []
    for _ in range(20):
        sim.run(100 * MS)
        values.append(sim.outlet(3).power_mw.value or 0)
    return sum(values) / len(values)


def test_calibration_counts_at_once_keeps_the_old_and_outlives_the_guard(sim):
    sim.plug(3, "resistor:500")
    assert ask(sim, StartTestCharge, 3, 60) is None
    before_mw = mean_mw(sim)
    assert ask(sim, SetGains, 3, Gains(1_020_000, 1_050_000)) is None
    assert ask(sim, SetGains, 3, Gains(1_020_000, 1_050_000)) is None, "again: nothing new"
    assert mean_mw(sim) == pytest.approx(1.05 * before_mw, rel=0.005)
    assert sim.outlet(3).closed
    kept = page_of(sim, 3).calibration
    assert (kept.gains, kept.before, kept.signed.who) == (Gains(1_020_000, 1_050_000), Gains(), WHO)
    sim.boot()
    assert page_of(sim, 3).gains == Gains(1_020_000, 1_050_000)
    assert ask(sim, StartTestCharge, 3, 60) is None
    assert mean_mw(sim) == pytest.approx(1.05 * before_mw, rel=0.005)


@pytest.mark.parametrize("gains", [Gains(499_999, 1_000_000), Gains(1_000_000, 1_500_001), Gains(-1, 1)])
def test_gain_that_no_sensor_needs_is_refused(sim, gains):
    assert ask(sim, SetGains, 3, gains) == "bad_gain"
    assert page_of(sim, 3).gains == Gains()


@pytest.mark.after(charging, 4)
def test_calibration_waits_for_the_resident_on_the_same_chip(sim):
    assert ask(sim, SetGains, 3, Gains(1_010_000, 1_010_000)) == "resident_charging"
    assert ask(sim, SetGains, 5, Gains(1_010_000, 1_010_000)) is None


def test_upkeep_of_forty_outlets_fits_a_frame():
    signed = Attribution("console:" + "x" * 32, 2**53, True)
    calibration = Calibration(Gains(), Gains(), signed)
    page = OutletMaintenance(40, "汉" * 80, signed, RelayWear(2**40, 2**40, signed), Gains(), calibration)
    maintenance_state = MaintenanceState(2**60, [page] * 40, PPB)
    assert len(guard_protocol.encode(maintenance_state)) < guard_protocol.MAX_FRAME / 2
    assert guard_protocol.decode_from_guard(guard_protocol.encode(maintenance_state)) == maintenance_state
