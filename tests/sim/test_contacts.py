"""Alarm contacts, residual-current monitor and siren, as the computer's lines show them."""

import random
from collections.abc import Callable

import msgspec
import pytest
from gpiozero import Button, OutputDevice

from cabinet.clock import MS, ManualClock
from cabinet.errors import SimError
from cabinet.sim.build import build_world
from cabinet.sim.catalogue import make_load
from cabinet.sim.contacts import permitted_ns
from cabinet_testing.sim_hardware import RESIDUAL, RESIDUAL_TEST, SIREN, SMOKE, WATER, SimHardware, demo_config


@pytest.mark.parametrize(("fault", "line"), [("smoke", SMOKE), ("water", WATER)])
def test_an_alarm_contact_holds_its_line_low_until_it_alarms(cabinet: SimHardware, fault: str, line: int) -> None:
    assert not cabinet.level(line)
    cabinet.world.fault(None, fault)
    assert cabinet.level(line)
    cabinet.world.clear()
    assert not cabinet.level(line)
    assert cabinet.kinds()[-4:] == ["fault", "input_opened", "input_closed", "cleared"]


@pytest.mark.parametrize(("name", "line"), [("smoke", SMOKE), ("water", WATER), ("residual", RESIDUAL)])
def test_a_cut_wire_looks_like_an_alarm_of_that_contact_only(cabinet: SimHardware, name: str, line: int) -> None:
    cabinet.world.fault(None, "wire_cut", input=name)
    assert [cabinet.level(each) for each in (SMOKE, WATER, RESIDUAL)] == [
        each == line for each in (SMOKE, WATER, RESIDUAL)
    ]
    cabinet.world.clear()
    assert not cabinet.level(line)


def test_an_input_without_a_pull_up_does_not_see_an_open_contact(cabinet: SimHardware) -> None:
    cabinet.world.fault(None, "smoke")
    assert not cabinet.world.lines.level(SMOKE)


def test_an_edge_of_a_contact_reaches_who_watches_it(cabinet: SimHardware) -> None:
    opened: list[float] = []
    button = Button(SMOKE, pull_up=True, pin_factory=cabinet.pins)
    button.when_released = lambda: opened.append(cabinet.clock.monotonic_ns())
    assert button.is_pressed
    cabinet.world.fault(None, "smoke")
    assert not button.is_pressed
    assert len(opened) == 1


def test_the_siren_sounds_while_its_line_is_high(cabinet: SimHardware) -> None:
    siren = OutputDevice(SIREN, pin_factory=cabinet.pins)
    assert cabinet.world.state()["siren"] is False
    siren.on()
    assert cabinet.world.state()["siren"] is True
    siren.off()
    assert cabinet.kinds()[-2:] == ["siren_on", "siren_off"]


class TestResidualCurrent:
    def opened_after_ms(self, cabinet: SimHardware, leak: Callable[[], None], wait_ms: float = 400) -> float | None:
        """Return the time from the leak to the open contact."""
        start_ns = cabinet.world.sync()
        leak()
        cabinet.live_ms(wait_ms)
        if "input_opened" not in cabinet.kinds():
            return None
        assert cabinet.level(RESIDUAL)
        return (cabinet.when("input_opened") - start_ns) / MS

    @pytest.mark.parametrize(("ma", "within_ms"), [(30, 300), (60, 150), (100, 73), (150, 40), (1000, 40)])
    def test_it_opens_its_contact_in_the_time_permitted_for_the_current(self, ma: float, within_ms: float) -> None:
        times = []
        for seed in range(20):
            cabinet = SimHardware(seed=seed)
            cabinet.close(1)
            after_ms = self.opened_after_ms(cabinet, lambda cabinet=cabinet: cabinet.world.fault(1, "leak", ma=ma))  # type: ignore[misc]
            assert after_ms is not None
            times.append(after_ms)
        assert within_ms / 2 <= min(times) < max(times) <= within_ms
        assert len(set(times)) > 10, "not always the same"

    def test_the_permitted_time_falls_with_the_current(self) -> None:
        times = [permitted_ns(ma) for ma in range(30, 200)]
        assert times == sorted(times, reverse=True)
        assert (times[0], times[-1]) == (300e6, 40e6)
        assert permitted_ns(60) == pytest.approx(150e6)

    def test_below_24_ma_it_never_does_and_up_to_30_ma_some_do(self) -> None:
        def opens(ma: float, seed: int) -> bool:
            cabinet = SimHardware(seed=seed)
            cabinet.close(1)
            return self.opened_after_ms(cabinet, lambda: cabinet.world.fault(1, "leak", ma=ma)) is not None

        assert not any(opens(23.9, seed) for seed in range(10))
        assert {opens(27, seed) for seed in range(10)} == {True, False}

    def test_only_outlets_that_have_mains_leak(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(1, "leak", ma=100)
        cabinet.live_ms(400)
        assert not cabinet.level(RESIDUAL)
        assert "fault_onset" not in cabinet.kinds(1)
        cabinet.close(1)
        cabinet.live_ms(100)
        assert cabinet.level(RESIDUAL)
        assert cabinet.kinds(1).count("fault_onset") == 1

    def test_small_leaks_of_several_outlets_add_up(self, cabinet: SimHardware) -> None:
        cabinet.close(1, 2)
        cabinet.world.fault(1, "leak", ma=20)
        cabinet.live_ms(400)
        assert not cabinet.level(RESIDUAL)
        cabinet.world.fault(2, "leak", ma=20)
        assert cabinet.world.state()["residual_ma"] == 40
        cabinet.live_ms(300)
        assert cabinet.level(RESIDUAL)

    def test_the_contact_closes_again_half_a_second_after_the_current_is_gone(self, cabinet: SimHardware) -> None:
        cabinet.close(1)
        cabinet.world.fault(1, "leak", ma=100)
        cabinet.live_ms(100)
        cabinet.coils()
        cabinet.live_ms(20)
        gone_ns = cabinet.when("contacts_opened", 1)
        cabinet.live_ms(400)
        assert cabinet.level(RESIDUAL)
        cabinet.live_ms(200)
        assert not cabinet.level(RESIDUAL)
        assert cabinet.when("input_closed") - gone_ns == 500 * MS

    def test_the_test_input_makes_it_open_with_no_outlet_on(self, cabinet: SimHardware) -> None:
        after_ms = self.opened_after_ms(cabinet, lambda: cabinet.drive(RESIDUAL_TEST, True))
        assert after_ms is not None
        assert after_ms <= 300
        cabinet.drive(RESIDUAL_TEST, False)
        cabinet.live_ms(510)
        assert not cabinet.level(RESIDUAL)

    def test_a_dead_monitor_answers_neither_a_leak_nor_its_test(self, cabinet: SimHardware) -> None:
        cabinet.world.fault(None, "rcm_dead")
        cabinet.close(1)
        cabinet.world.fault(1, "leak", ma=500)
        cabinet.drive(RESIDUAL_TEST, True)
        cabinet.live_ms(1000)
        assert not cabinet.level(RESIDUAL)
        cabinet.world.clear()
        cabinet.live_ms(300)
        assert cabinet.level(RESIDUAL), "alive again, and the test goes on"

    def test_the_current_that_leaks_for_a_moment_only_is_not_held_against_the_next(self) -> None:
        seed = random.randrange(1 << 32)
        print("seed", seed)
        cabinet = SimHardware(seed=seed)
        cabinet.close(1)
        for _ in range(10):
            cabinet.world.fault(1, "leak", ma=30)
            cabinet.live_ms(140)
            cabinet.world.clear(1)
            cabinet.live_ms(20)
        assert not cabinet.level(RESIDUAL)


@pytest.mark.parametrize(("kind", "params", "missing"), [
    ("smoke", {}, "no smoke contact: hardware.smoke_pin"),
    ("water", {}, "no water contact: hardware.water_pin"),
    ("wire_cut", {"input": "residual"}, "no residual contact: hardware.residual_pin"),
    ("rcm_dead", {}, "no residual contact: hardware.residual_pin"),
    ("contactor_welded", {}, "no contactor: hardware.contactor_pin"),
])  # fmt: skip
def test_what_is_not_fitted_cannot_fail(kind: str, params: dict[str, str], missing: str) -> None:
    config = demo_config()
    bare = msgspec.structs.replace(
        config.hardware, smoke_pin=None, water_pin=None, residual_pin=None, residual_test_pin=None, siren_pin=None,
        contactor_pin=None,
    )  # fmt: skip
    world = build_world(msgspec.structs.replace(config, hardware=bare), ManualClock())
    with pytest.raises(SimError, match=missing):
        world.fault(None, kind, **params)
    assert world.state()["faults"] == {}
    world.plug(1, make_load("demo"))
    world.fault(1, "leak")  # current leaks whether anybody watches or not
