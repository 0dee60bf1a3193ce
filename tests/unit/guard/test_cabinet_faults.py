"""Every protection that is not about one short, through the real guard over the simulated cabinet."""

import pytest

from cabinet.clock import MS, NS
from cabinet.errors import ChipReset
from cabinet.guard.cabinet import SLOW_STEP_NS
from cabinet.link.guard_protocol import Done, Refusal
from cabinet.model import CABINET, EventKind, Fault, Phase
from cabinet_testing.sim_cabinet import SimCabinet, demo_config

TEN = range(1, 11)
LIMIT_1000_W = {"[tariff]": "[feed]\nlimit_w = 1000\n\n[tariff]"}


@pytest.fixture
def sim(prepared):
    return prepared()


def charging(sim: SimCabinet, *outlets: int, load: str = "lead-acid-48v20ah") -> None:
    for outlet in outlets:
        sim.plug(outlet, load, None if load.startswith("resistor") else 30)
        assert isinstance(sim.start(outlet), Done)
    assert sim.run(8 * NS, until=lambda: all(sim.outlet(n).phase is Phase.CHARGING for n in outlets))


def tripped(sim: SimCabinet, outlet: int, within_s: float) -> tuple[Fault | None, bool]:
    """The fault of the outlet's trip and whether it is latched; it came within so long."""
    assert sim.run(round(within_s * NS), until=lambda: bool(sim.events(outlet, EventKind.TRIPPED)))
    event = sim.events(outlet, EventKind.TRIPPED)[-1]
    return event.fault, event.latched


def all_dead(sim: SimCabinet) -> bool:
    return all(sim.world.truth(n).current_ma == 0 for n in TEN)


class TestCabinet:
    """Faults of the whole cabinet: contactor and relays open, latched, and staff clear them as outlet 0."""

    @pytest.mark.after(charging, 3, 8)
    @pytest.mark.parametrize(
        ("kind", "params", "fault", "within_s", "siren"),
        [
            ("smoke", {}, Fault.SMOKE, 0.2, True),
            ("water", {}, Fault.WATER, 1.2, True),
            ("wire_cut", {"input": "smoke"}, Fault.SMOKE, 0.2, True),
            ("cabinet_heat", {"kelvin": 60, "settle_s": 1}, Fault.CABINET_HOT, 5, True),
        ],
    )
    def test_alarm_opens_everything(self, sim, kind, params, fault, within_s, siren):
        sim.world.fault(None, kind, **params)
        assert tripped(sim, 3, within_s) == (fault, False), "the session is over; the latch is the cabinet's"
        sim.run(100 * MS)
        snapshot = sim.guard.snapshot()
        assert (snapshot.fault, snapshot.latched, snapshot.siren) == (fault, True, siren)
        assert not snapshot.contactor_closed
        assert all_dead(sim)
        assert {o.refusal for o in snapshot.outlets} == {"cabinet_fault"}
        assert sim.start(1) == Refusal(3, "cabinet_fault", {"outlet": 1})
        assert [e.outlet for e in sim.seen if e.kind is EventKind.TRIPPED and e.latched] == [None]

    @pytest.mark.after(charging, 3)
    def test_staff_clear_it_and_the_cabinet_serves_again(self, sim):
        sim.world.fault(None, "smoke")
        tripped(sim, 3, 1)
        sim.world.clear(None)
        sim.run(NS)
        assert sim.guard.snapshot().latched, "it does not clear by itself"
        assert isinstance(sim.clear(CABINET), Done)
        assert not sim.guard.snapshot().siren
        assert sim.run(3 * NS, until=lambda: sim.outlet(3).refusal is None)
        assert isinstance(sim.start(3), Done)

    def test_cleared_too_early_it_comes_again(self, sim):
        sim.world.fault(None, "smoke")
        sim.run(500 * MS)
        sim.clear(CABINET)
        sim.run(500 * MS)
        assert sim.guard.snapshot().latched

    def test_it_is_remembered_by_the_next_guard(self, sim):
        sim.world.fault(None, "smoke")
        sim.run(500 * MS)
        sim.world.clear(None)
        sim.boot()
        snapshot = sim.guard.snapshot()
        assert (snapshot.fault, snapshot.latched, snapshot.contactor_closed) == (Fault.SMOKE, True, False)

    @pytest.mark.after(charging, 3)
    def test_warm_air_refuses_starts_and_lets_charges_go_on(self, sim):
        sim.world.fault(None, "cabinet_heat", kelvin=33, settle_s=1)
        assert sim.run(20 * NS, until=lambda: sim.outlet(1).refusal == "cabinet_hot")
        assert sim.outlet(3).closed
        sim.run(2 * SLOW_STEP_NS)
        assert [e.fault for e in sim.seen if e.kind is EventKind.WARNED] == [Fault.CABINET_HOT]

    def test_lost_thermometer_of_the_air_inside_warns_once_and_charges_go_on(self, tmp_path):
        sim = SimCabinet(tmp_path, demo_config({"heartbeat_pin = 27\n": ""}))
        charging(sim, 3)
        sim.world.fault(3, "nack", chip="inside_thermometer")
        sim.stride(100 * NS, NS)
        assert [(e.outlet, e.fault) for e in sim.seen if e.kind is EventKind.WARNED] == [(None, Fault.SENSOR_LOST)]
        assert sim.guard.snapshot().inside_mc.value is None
        assert sim.outlet(3).closed

    @pytest.mark.after(charging, 3)
    def test_sensors_that_disagree_open_all_after_ten_seconds(self, sim):
        sim.world.fault(3, "bypass", amps=3)
        assert sim.run(5 * NS, until=lambda: any(e.kind is EventKind.WARNED for e in sim.seen))
        assert tripped(sim, 3, 12) == (Fault.SENSOR_DISAGREES, False)
        assert sim.guard.snapshot().latched

    @pytest.mark.after(charging, *TEN)
    def test_lost_meter_chip_costs_its_two_outlets_and_no_other(self, sim):
        sim.run(2 * NS)
        sim.world.fault(3, "nack", chip="meter")
        sim.run(14 * NS)
        assert [o.outlet for o in sim.guard.snapshot().outlets if not o.closed] == [3, 4], "they share the chip"
        assert [(e.outlet, e.fault) for e in sim.seen if e.kind is EventKind.TRIPPED] == [
            (3, Fault.SENSOR_LOST),
            (4, Fault.SENSOR_LOST),
        ]
        assert [e.fault for e in sim.seen if e.kind is EventKind.WARNED] == []
        assert sim.guard.snapshot().fault is None

    @pytest.mark.after(charging, 3)
    def test_what_flows_through_an_outlet_that_is_open_and_not_measured_is_found_by_the_cabinets_meter(self, sim):
        sim.run(2 * NS)
        sim.world.fault(3, "welded")
        sim.world.fault(3, "nack", chip="meter")
        assert sim.run(14 * NS, until=lambda: sim.guard.snapshot().fault is Fault.SENSOR_DISAGREES)
        sim.run(100 * MS)
        assert all_dead(sim)

    @pytest.mark.after(charging, 3, 6)
    def test_short_through_a_weld_that_no_meter_shows_is_broken_within_a_second(self, sim):
        sim.run(2 * NS)
        sim.world.fault(3, "welded")
        sim.world.fault(3, "breaker", acts="never")
        sim.world.fault(3, "nack", chip="meter")
        assert sim.run(NS, until=lambda: not sim.outlet(3).closed)
        sim.run(NS)
        sim.world.fault(3, "short", amps=60)
        assert sim.run(NS, until=lambda: not sim.world.truth(3).conducting)
        assert sim.guard.snapshot().fault is Fault.SENSOR_DISAGREES
        sim.run(100 * MS)
        assert all_dead(sim)

    @pytest.mark.after(charging, 3, load="resistor:500")
    def test_opened_outlet_takes_nothing_and_its_last_power_is_not_shown(self, sim):
        sim.run(2 * NS)
        assert sim.guard.snapshot().feed_mw == pytest.approx(500_000, rel=0.02)
        sim.world.fault(3, "nack", chip="meter")
        assert sim.run(NS, until=lambda: not sim.outlet(3).closed)
        snapshot = sim.guard.snapshot()
        assert (snapshot.feed_mw, snapshot.unmeasured) == (0, [])
        assert (sim.outlet(3).power_mw.value, sim.outlet(3).current_ma.value) == (None, None)

    @pytest.mark.after(charging, 3, load="resistor:500")
    def test_while_an_outlet_cannot_be_measured_the_comparison_waits_and_says_so(self, sim, caplog):
        sim.run(2 * NS)
        assert sim.guard.snapshot().feed_compared is True
        unit = sim.unit(3)
        unit.slow_lost_ns = -1  # sums stop believing it, nothing trips yet
        sim.run(150 * MS)
        snapshot = sim.guard.snapshot()
        assert (snapshot.feed_compared, snapshot.unmeasured, snapshot.feed_mw) == (False, [3], 0)
        assert "outlets [3]" in caplog.text
        sim.run(12 * NS)
        assert sim.guard.snapshot().fault is None
        assert sim.outlet(3).closed

    @pytest.mark.after(charging, *TEN)
    def test_outlets_and_their_meter_agree_with_ten_charges(self, sim):
        sim.run(15 * NS)
        assert [e for e in sim.seen if e.kind in (EventKind.WARNED, EventKind.TRIPPED)] == []


class TestResidualCurrent:
    @pytest.mark.after(charging, 3)
    @pytest.mark.parametrize(("ma", "within_s"), [(35, 0.32), (160, 0.06)])
    def test_leak_opens_everything_in_the_time_of_the_standard(self, sim, ma, within_s):
        sim.world.fault(3, "leak", ma=ma)
        assert tripped(sim, 3, within_s) == (Fault.RESIDUAL_CURRENT, False)
        sim.run(100 * MS)
        assert all_dead(sim)
        assert sim.guard.snapshot().latched

    @pytest.mark.after(charging, 3)
    def test_half_the_current_is_borne(self, sim):
        sim.world.fault(3, "leak", ma=15)
        sim.run(2 * NS)
        assert sim.outlet(3).closed

    def test_monitor_that_does_not_answer_its_test_keeps_the_cabinet_off(self, sim):
        sim.world.fault(None, "rcm_dead")
        sim.boot()
        sim.run(NS)
        snapshot = sim.guard.snapshot()
        assert (snapshot.fault, snapshot.why) == (Fault.RESIDUAL_CURRENT, {"test_failed": 1})

    def test_it_is_tested_at_the_start_and_nothing_closes_during_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr("cabinet_testing.sim_cabinet.UNTIL_READY_NS", 30 * MS)
        sim = SimCabinet(tmp_path, demo_config())
        assert sim.guard.cabinet.residual_test.active
        assert sim.start(1) == Refusal(1, "not_ready", {"outlet": 1})
        assert sim.run(3 * NS, until=lambda: sim.outlet(1).refusal is None)


class TestVoltage:
    @pytest.mark.after(charging, 3, 8)
    @pytest.mark.parametrize(("volts", "fault"), [(170, Fault.UNDERVOLTAGE), (270, Fault.OVERVOLTAGE)])
    def test_charges_pause(self, sim, volts, fault):
        sim.world.set_mains(volts=volts)
        assert sim.run(2 * NS, until=lambda: not sim.outlet(3).closed and not sim.outlet(8).closed)
        assert [(e.kind, e.fault, e.latched) for e in sim.events(3)][-1] == (EventKind.SUSPENDED, fault, False)
        assert sim.outlet(3).refusal == "voltage_out_of_band"


class TestFeed:
    def test_no_charge_begins_when_the_power_is_used_up(self, tmp_path):
        sim = SimCabinet(tmp_path, demo_config(LIMIT_1000_W))
        charging(sim, 1, load="resistor:720")
        sim.run(2 * NS)  # the meter's mean has come up
        assert isinstance(sim.start(2), Done)
        assert sim.start(3) == Refusal(3, "feed_full", {"outlet": 3}), "what has just begun is counted with its reserve"
        sim.stop(2)
        assert isinstance(sim.start(3), Done)

    def test_overload_ends_the_newest_charge_and_no_other(self, tmp_path):
        sim = SimCabinet(tmp_path, demo_config(LIMIT_1000_W))
        charging(sim, 1, load="resistor:500")
        charging(sim, 2, load="resistor:300")
        sim.world.fault(1, "overload", amps=1.5)
        assert tripped(sim, 2, 7) == (Fault.FEED_OVERLOAD, False)
        sim.run(10 * NS)
        assert sim.outlet(1).closed
        assert isinstance(sim.clear(2), Refusal), "there is nothing to clear"


class TestOutlet:
    @pytest.mark.after(charging, 3, load="resistor:1050")
    def test_overpower_ends_the_charge_and_the_outlet_serves_again(self, sim):
        assert tripped(sim, 3, 12) == (Fault.OVERPOWER, False)
        assert sim.run(12 * NS, until=lambda: sim.outlet(3).refusal is None)

    @pytest.mark.after(charging, 3, 6)
    def test_frozen_meter_opens_its_outlet_for_good_and_no_other(self, sim):
        sim.run(NS)  # soft starts are over
        sim.world.fault(3, "frozen", chip="meter")
        assert tripped(sim, 3, 6) == (Fault.SENSOR_FROZEN, True)
        sim.run(1 * NS)  # the current that it still shows is no weld
        assert sim.outlet(6).closed
        assert sim.outlet(3).fault is Fault.SENSOR_FROZEN

    @pytest.mark.after(charging, 3, 4)
    @pytest.mark.parametrize("lost_ms", [3, 9, 15])
    def test_reads_lost_for_some_scans_are_no_lost_sensor_and_no_chip_is_set_up_again(self, sim, lost_ms, caplog):
        sim.world.fault(None, "noise_reads", share=1.0)
        sim.run(lost_ms * MS)
        sim.world.clear(None)
        sim.run(NS)
        assert sim.outlet(3).closed
        assert sim.outlet(4).closed
        assert "down" not in caplog.text

    @pytest.mark.after(charging, 3, 4)
    def test_chip_that_was_reset_is_set_up_again_without_a_break(self, sim):
        sim.world.fault(3, "chip_reset", chip="meter")
        sim.run(2 * NS)
        assert sim.outlet(3).closed
        assert sim.outlet(4).closed

    @pytest.mark.after(charging, 3)
    def test_chip_that_is_away_for_its_reset_too_long_opens_its_outlets_as_sensor_reset(self, sim, monkeypatch):
        segment = sim.guard._scanner.segments[1]

        def keeps_resetting(alert_peak_ma: int) -> None:
            raise ChipReset("ADE7953", segment.name, "was reset: its set-up is lost")

        monkeypatch.setattr(segment.chip, "initialise", keeps_resetting)
        sim.world.fault(3, "chip_reset", chip="meter")
        assert tripped(sim, 3, 1) == (Fault.SENSOR_RESET, False)

    def test_relay_that_does_not_close_is_found_by_the_self_test(self, sim):
        sim.world.fault(3, "stuck_open")
        sim.boot()
        state = sim.outlet(3)
        assert (state.fault, state.latched, state.why) == (Fault.RELAY_STUCK_OPEN, True, {"self_test": 1})
        assert [o.fault for o in sim.guard.snapshot().outlets if o.outlet != 3] == [None] * 9

    @pytest.mark.after(charging, 3, 4)
    def test_relay_whose_driver_fails_ends_its_charge_within_three_seconds(self, sim):
        sim.world.fault(3, "stuck_open")
        assert tripped(sim, 3, 3) == (Fault.RELAY_STUCK_OPEN, True)
        assert sim.outlet(4).closed

    def test_three_trips_within_an_hour_latch_the_outlet(self, sim):
        for turn in range(3):
            if turn:
                sim.world.clear(3)
            assert sim.run(15 * NS, until=lambda: isinstance(sim.start(3), Done))
            sim.run(NS)
            sim.world.fault(3, "nack", chip="meter")
            assert sim.run(NS, until=lambda: not sim.outlet(3).closed)
        sim.run(100 * MS)
        state = sim.outlet(3)
        assert (state.fault, state.latched) == (Fault.RECLOSE_STORM, True)
        assert sim.outlet(4).fault is not Fault.RECLOSE_STORM, "the other outlet of that chip was not used"

    @pytest.mark.after(charging, 3)
    def test_thermometer_that_jumps_is_a_lost_sensor_and_no_heat(self, sim):
        sim.world.fault(3, "thermometer_jump", kelvin=70)
        assert tripped(sim, 3, 7) == (Fault.SENSOR_LOST, False)


class TestContactor:
    @pytest.mark.after(charging, 3, 8)
    def test_welded_contactor_is_found_when_it_should_break_a_short(self, sim):
        sim.run(NS)  # soft starts are over: there is a current to be seen
        sim.world.fault(None, "contactor_welded")
        sim.world.fault(3, "short", amps=150)
        assert sim.run(2 * NS, until=lambda: sim.guard.snapshot().fault is Fault.CONTACTOR_WELDED)
        snapshot = sim.guard.snapshot()
        assert (snapshot.latched, snapshot.siren) == (True, True)
        assert not any(o.closed for o in snapshot.outlets)
        sim.run(100 * MS)
        assert sim.world.truth(8).current_ma == 0, "ordinary currents are broken by the relays"
