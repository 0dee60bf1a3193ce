"""open_everything: what the keeper and `cabinet failsafe` do when the guard is dead, with only the configuration."""

import errno

import pytest
from gpiozero.pins.mock import MockFactory

from cabinet.config.keys import Config
from cabinet.errors import HardwareError
from cabinet.hardware.failsafe import open_everything
from cabinet_testing.fake_bus import FakeBus, Registers
from cabinet_testing.relay_harness import (
    CONTACTOR,
    EXPANDER,
    HEARTBEAT,
    MUX_RESET,
    OTHER_EXPANDER,
    RELAY_4,
    FailingPin,
    mixed_config,
)


@pytest.fixture(scope="module")
def config() -> Config:
    return mixed_config()


class Wreck:
    """Hardware as a dead guard may leave it: latches set, lines driven high. Lines keep a history."""

    def __init__(self) -> None:
        self.bus = FakeBus({address: Registers(1, {"14": "FF FF"}) for address in (EXPANDER, OTHER_EXPANDER)})
        self.pins = MockFactory(pin_class=FailingPin)
        self.lines = {number: self.pins.pin(number) for number in (CONTACTOR, HEARTBEAT, RELAY_4, MUX_RESET)}
        for pin in self.lines.values():
            pin.function = "output"
            pin.state = True
            pin.clear_states()

    def open(self, config: Config) -> list[str]:
        errors = open_everything(config, lambda: self.bus, lambda: self.pins)
        return [f"{type(error).__name__}: {error}" for error in errors]

    def histories(self) -> dict[int, list[bool]]:
        return {number: [state.state for state in pin.states] for number, pin in self.lines.items()}


DRIVEN_LOW = {CONTACTOR: [True, False], HEARTBEAT: [True, False], RELAY_4: [True, False], MUX_RESET: [True]}


def test_open_everything_clears_latches_and_lines_and_sets_nothing_up(config: Config) -> None:
    wreck = Wreck()
    assert wreck.open(config) == []
    assert wreck.bus.log == ["S 40 14 00 00 P", "S 42 14 00 00 P"]
    assert (wreck.histories(), wreck.bus.closed) == (DRIVEN_LOW, True)


def test_open_everything_can_be_done_again(config: Config) -> None:
    wreck = Wreck()
    assert (wreck.open(config), wreck.open(config)) == ([], [])


def test_lines_open_before_the_bus_is_asked_for(config: Config) -> None:
    wreck = Wreck()
    seen: list[dict[int, list[bool]]] = []

    def late_bus() -> FakeBus:
        seen.append(wreck.histories())
        return wreck.bus

    assert open_everything(config, late_bus, lambda: wreck.pins) == []
    assert seen == [DRIVEN_LOW]


def test_lines_open_without_a_bus(config: Config) -> None:
    wreck = Wreck()

    def no_bus() -> FakeBus:
        raise HardwareError("I2C bus /dev/i2c-1: No such file or directory")

    errors = open_everything(config, no_bus, lambda: wreck.pins)
    assert [str(error) for error in errors] == ["I2C bus /dev/i2c-1: No such file or directory"]
    assert wreck.histories() == DRIVEN_LOW


def test_latches_are_cleared_without_pins(config: Config) -> None:
    wreck = Wreck()

    def no_pins() -> MockFactory:
        raise HardwareError("no gpiochip")

    errors = open_everything(config, lambda: wreck.bus, no_pins)
    assert [str(error) for error in errors] == ["no gpiochip"]
    assert wreck.bus.log == ["S 40 14 00 00 P", "S 42 14 00 00 P"]


def test_a_line_that_fails_keeps_no_other_from_opening(config: Config) -> None:
    wreck = Wreck()
    wreck.lines[CONTACTOR].failing = True
    assert wreck.open(config) == ["HardwareError: contactor on GPIO 17: [Errno 5] line is gone"]
    assert wreck.histories() == DRIVEN_LOW | {CONTACTOR: [True]}
    assert wreck.bus.log == ["S 40 14 00 00 P", "S 42 14 00 00 P"]


def test_a_bus_held_by_a_segment_is_freed_by_resetting_the_muxes(config: Config) -> None:
    wreck = Wreck()
    wreck.bus.failures = {EXPANDER: [errno.ETIMEDOUT], OTHER_EXPANDER: [errno.ETIMEDOUT]}
    assert wreck.open(config) == []
    assert wreck.bus.log == ["S 40 ETIMEDOUT", "S 42 ETIMEDOUT", "S 40 14 00 00 P", "S 42 14 00 00 P"]
    assert wreck.histories() == DRIVEN_LOW | {MUX_RESET: [True, False, True]}


def test_an_expander_that_never_answers_is_told_once_and_the_other_is_cleared(config: Config) -> None:
    wreck = Wreck()
    del wreck.bus.chips[EXPANDER]
    assert wreck.open(config) == ["BusError: MCP23017 at 0x20 register 0x014: EREMOTEIO"]
    assert wreck.bus.log == ["S 40 EREMOTEIO", "S 42 14 00 00 P", "S 40 EREMOTEIO"]
