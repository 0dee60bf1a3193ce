"""Promises about how a charge ends, told by its power alone."""

import pytest

from cabinet.charge import Charge, EndLimits
from cabinet.metering import OutletMeter
from cabinet.model import ABSENT, ChargeLimits, EndReason, MeterCount, Phase, Quality, Reading

S = 1_000_000_000

ENDS = EndLimits(
    full_floor_mw=15_000,
    full_share=0.12,
    full_hold_ns=1800 * S,
    full_hysteresis_mw=6_000,
    unplugged_mw=1_500,
    unplugged_hold_ns=60 * S,
    no_load_mw=5_000,
    no_load_ns=120 * S,
    crosstalk_share=0.005,
    max_duration_ms=36_000_000,
)


class Outlet:
    """A charge with its meter, fed by watts and seconds."""

    def __init__(self, limits=ChargeLimits(), **kwargs):  # noqa: B008  # an immutable value
        self.meter = OutletMeter()
        self.now_ns = 50 * S
        self.charge = Charge("s1", limits, ENDS, self.meter.count(), self.now_ns, **kwargs)

    def draw(self, watts: float, seconds: int, neighbour_w: int = 0) -> EndReason | None:
        """`seconds` at `watts`, a reading a second; stops early where the charge ends."""
        for _ in range(seconds):
            self.now_ns += S
            self.meter.add_energy(int(watts * 1_000_000))
            self.meter.add_time(S, self.charge.phase is Phase.CHARGING)
            power = Reading(int(1000 * watts), self.now_ns, Quality.OK)
            reason = self.charge.step(self.now_ns, power, 1000 * neighbour_w, self.meter.count())
            if reason is not None:
                return reason
        return None


def test_outlet_without_a_load_ends_after_its_waiting_time():
    outlet = Outlet()
    assert outlet.draw(0.5, 119) is None
    assert outlet.charge.wait_left_ns(outlet.now_ns) == S
    assert outlet.draw(0.5, 1) is EndReason.NO_LOAD


def test_load_seen_begins_charging_and_no_waiting_ends_it_any_more():
    outlet = Outlet()
    assert outlet.draw(0, 100) is None
    assert outlet.charge.phase is Phase.WAITING_FOR_LOAD
    assert outlet.draw(120, 1000) is None
    assert outlet.charge.phase is Phase.CHARGING
    assert outlet.charge.wait_left_ns(outlet.now_ns) is None


@pytest.mark.parametrize(
    ("plateau_w", "taper_w", "full"),
    [(100, 14.9, True), (100, 15.1, False), (400, 47, True), (400, 50, False)],
    ids=["floor reached", "above the floor", "share of the plateau reached", "above the share"],
)
def test_full_is_below_the_floor_or_a_share_of_the_plateau_for_half_an_hour(plateau_w, taper_w, full):
    outlet = Outlet()
    assert outlet.draw(plateau_w, 3600) is None
    assert outlet.draw(taper_w, 1800) is None
    assert outlet.draw(taper_w, 10) is (EndReason.FULL if full else None)


def test_small_rise_during_the_hold_does_not_start_it_over_and_a_real_one_does():
    outlet = Outlet()
    outlet.draw(100, 600)
    assert outlet.draw(10, 1000) is None
    assert outlet.draw(20, 10) is None, "within the hysteresis"
    assert outlet.draw(10, 800) is EndReason.FULL
    outlet = Outlet()
    outlet.draw(100, 600)
    outlet.draw(10, 1000)
    outlet.draw(22, 10)
    assert outlet.draw(10, 1000) is None


def test_soft_start_of_a_charger_is_not_the_beginning_of_the_hold():
    outlet = Outlet(had_load=True)
    outlet.draw(2, 2)
    assert outlet.draw(18, 3600) is None, "18 W are within the hysteresis, and above what a full battery takes"
    assert outlet.draw(14, 1801) is EndReason.FULL


def test_inrush_of_a_plug_put_back_does_not_raise_what_counts_as_full():
    outlet = Outlet()
    outlet.draw(150, 600)
    outlet.draw(0, 5)
    outlet.draw(2000, 1)
    outlet.draw(150, 600)
    assert outlet.draw(19, 2000) is None, "12 % of the plateau are 18 W"


def test_plug_pulled_out_of_a_steady_charge_is_unplugged():
    outlet = Outlet()
    outlet.draw(150, 900)
    assert outlet.draw(0, 60) is None
    assert outlet.draw(0, 1) is EndReason.UNPLUGGED


def test_time_without_a_plug_is_no_soft_start():
    """What the meter shows while a plug is pulled out is low, and nine seconds later the charger starts softly."""
    outlet = Outlet()
    outlet.draw(150, 900)
    outlet.draw(20, 600)
    outlet.draw(12, 1)  # on its way to nothing
    outlet.draw(0, 9)
    outlet.draw(2, 1)
    assert outlet.draw(20, 1800) is None, "20 W are above the limit of 18, only not above its hysteresis"


def test_plug_pulled_out_minutes_after_an_inrush_is_unplugged():
    outlet = Outlet()
    outlet.draw(600, 1)
    outlet.draw(150, 120)
    outlet.draw(700, 1)  # pulled and pushed in again
    outlet.draw(150, 60)
    assert outlet.draw(0, 61) is EndReason.UNPLUGGED


def test_plug_pulled_out_during_the_full_hold_is_not_called_full():
    outlet = Outlet()
    outlet.draw(100, 900)
    assert outlet.draw(10, 1790) is None
    assert outlet.draw(0, 61) is EndReason.ENDED_BY_LOAD


def test_charger_that_was_on_its_way_down_before_it_went_ended_by_itself():
    outlet = Outlet()
    outlet.draw(77, 900)
    for watts in (76, 74, 72, 70, 68, 66):
        outlet.draw(watts, 20)
    assert outlet.draw(0, 61) is EndReason.ENDED_BY_LOAD


def test_charger_that_idles_beside_a_strong_neighbour_was_not_pulled_out():
    outlet = Outlet()
    outlet.draw(34, 900)
    assert outlet.draw(2.5, 61, neighbour_w=290) is EndReason.ENDED_BY_LOAD, "1.45 W of it may be the neighbour's"
    outlet = Outlet()
    outlet.draw(34, 900)
    assert outlet.draw(1.6, 61, neighbour_w=290) is EndReason.UNPLUGGED


def test_plug_put_back_within_the_hold_goes_on():
    outlet = Outlet()
    outlet.draw(150, 900)
    assert outlet.draw(0, 50) is None
    assert outlet.draw(150, 600) is None


def test_neighbours_load_showing_here_does_not_hide_an_unplug():
    outlet = Outlet()
    outlet.draw(150, 900)
    assert outlet.draw(4, 61, neighbour_w=800) is EndReason.UNPLUGGED


@pytest.mark.parametrize(
    ("limits", "reason", "after_s"),
    [
        (ChargeLimits(charging_s=600), EndReason.LIMIT_TIME, 601),
        (ChargeLimits(energy_mwh=10_000), EndReason.LIMIT_ENERGY, 360),
        (ChargeLimits(money_charging_s=300), EndReason.LIMIT_MONEY, 301),
        (ChargeLimits(money_energy_mwh=5_000), EndReason.LIMIT_MONEY, 180),
        (ChargeLimits(charging_s=600, money_energy_mwh=5_000), EndReason.LIMIT_MONEY, 180),
    ],
    ids=["time", "energy", "money by time", "money by energy", "first one counts"],
)
def test_charge_ends_at_what_was_bought(limits, reason, after_s):
    outlet = Outlet(limits)
    start_ns = outlet.now_ns
    assert outlet.draw(100, 4000) is reason
    assert (outlet.now_ns - start_ns) // S == after_s


def test_no_charge_is_longer_than_the_longest():
    outlet = Outlet()
    outlet.meter.add_time(35_999 * S, with_load=True)
    assert outlet.draw(100, 1) is EndReason.MAX_DURATION


def test_resumed_charge_counts_what_was_used_before_and_does_not_wait_for_a_load():
    used = MeterCount(energy_mwh=5_000, powered_ms=400_000, charging_ms=300_000)
    outlet = Outlet(ChargeLimits(charging_s=600), used=used, had_load=True)
    assert outlet.charge.phase is Phase.CHARGING
    assert outlet.draw(0.1, 50) is None
    start_ns = outlet.now_ns
    assert outlet.draw(100, 1000) is EndReason.LIMIT_TIME
    assert (outlet.now_ns - start_ns) // S == 250
    assert outlet.charge.count(outlet.meter.count()).charging_ms == 600_000


def test_unknown_power_ends_nothing_but_the_waiting():
    outlet = Outlet()
    outlet.draw(100, 60)
    for _ in range(4000):
        outlet.now_ns += S
        assert outlet.charge.step(outlet.now_ns, ABSENT, 0, outlet.meter.count()) is None


def test_same_reading_seen_twice_counts_once():
    outlet = Outlet()
    outlet.draw(100, 60)
    reading = Reading(0, outlet.now_ns, Quality.OK)
    for _ in range(100):
        assert outlet.charge.step(outlet.now_ns + 100 * S, reading, 0, outlet.meter.count()) is None
