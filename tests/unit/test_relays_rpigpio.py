"""The same RelayBank through gpiozero's RPi.GPIO pin factory, looked at from RPi.GPIO's side.

fakeRPiGPIO stands in for RPi.GPIO, which cannot be imported off a Pi. It remembers what each line was set up as and
driven to, and that is what is asserted here, not what gpiozero believes. It drives no inputs and fires no edges, so
every other test uses gpiozero's own mock.
"""

import errno
from collections.abc import Iterator

import pytest
from gpiozero.pins.rpigpio import RPiGPIOFactory
from RPi import GPIO  # type: ignore[import-untyped]

from cabinet.clock import NS, ManualClock
from cabinet.hardware.bus import ChipPort
from cabinet.hardware.failsafe import open_everything
from cabinet.hardware.mcp23017 import Mcp23017
from cabinet.relays import OutputMismatch, RelayBank
from cabinet_testing.fake_bus import FakeBus, Registers
from cabinet_testing.relay_harness import (
    ALL,
    CONTACTOR,
    EXPANDER,
    HEARTBEAT,
    OTHER_EXPANDER,
    PLACES,
    POWER_ON,
    RELAY_4,
    RELAY_5,
    mixed_config,
)

PI_3B = 0xA02082  # revision code of a Raspberry Pi 3 model B


class OffPiFactory(RPiGPIOFactory):  # type: ignore[misc]  # gpiozero has no types
    """gpiozero's factory as it is, but for the board's revision.

    It takes that from /proc/device-tree or /proc/cpuinfo to know which lines the header has. Here neither has one, and
    to put a file over /proc/cpuinfo would need root; overriding the lookup needs nothing and leaves all code between
    RelayBank and RPi.GPIO the same.
    """

    def _get_revision(self) -> int:
        return PI_3B


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[OffPiFactory]:
    if not hasattr(GPIO, "_FAKE"):
        pytest.skip("this is a Pi with the real RPi.GPIO: the test would switch its lines")
    monkeypatch.setattr(GPIO, "VERBOSE", False)  # it prints each call otherwise
    factory = OffPiFactory()
    yield factory
    factory.close()  # lines and reservations are shared by all local factories of a process


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus({address: Registers(1, dict(POWER_ON)) for address in (EXPANDER, OTHER_EXPANDER)})


@pytest.fixture
def bank(bus: FakeBus, pins: OffPiFactory) -> Iterator[RelayBank]:
    expanders = {address: Mcp23017(ChipPort(bus, "MCP23017", address)) for address in (EXPANDER, OTHER_EXPANDER)}
    bank = RelayBank(PLACES, expanders, pins, CONTACTOR, HEARTBEAT, ManualClock())
    bank.initialise()
    yield bank
    bus.dead = None
    bank.close()


def levels() -> dict[str, bool]:
    """Return the level that RPi.GPIO last drove each line to; LOW, its constant, for one never driven."""
    lines = {"contactor": CONTACTOR, "relay 4": RELAY_4, "relay 5": RELAY_5}
    return {name: GPIO.input(number) in (True, GPIO.HIGH) for name, number in lines.items()}


def functions() -> list[str]:
    return [GPIO.gpio_function(number) for number in (CONTACTOR, HEARTBEAT, RELAY_4, RELAY_5)]


LOW = {"contactor": False, "relay 4": False, "relay 5": False}
HIGH = {"contactor": True, "relay 4": True, "relay 5": True}


def test_lines_are_outputs_and_low_from_the_start(bank: RelayBank) -> None:
    assert (functions(), levels()) == ([GPIO.OUT] * 4, LOW)


def test_hold_release_and_lease_end_reach_the_lines(bank: RelayBank) -> None:
    bank.close_contactor()
    bank.hold(4, 2 * NS)
    bank.hold(5, 3 * NS)
    assert levels() == HIGH
    assert bank.release(5, "full") == []
    assert levels() == HIGH | {"relay 5": False}
    assert bank.expire(2 * NS) == [4]
    assert levels() == LOW | {"contactor": True}


def test_with_a_dead_bus_every_line_goes_low(bank: RelayBank, bus: FakeBus) -> None:
    bank.close_contactor()
    for outlet in ALL:
        bank.hold(outlet, 2 * NS)
    assert levels() == HIGH
    bus.dead = errno.ETIMEDOUT
    errors = bank.open_all("guard_late")
    assert (levels(), len(errors), bank.unsent) == (LOW, 2, {1, 2, 3})


def test_beats_toggle_the_line(bank: RelayBank) -> None:
    seen = []
    for _ in range(4):
        bank.beat()
        seen.append(GPIO.input(HEARTBEAT))
    assert seen == [True, False, True, False]


def test_a_line_that_somebody_else_drove_is_found(bank: RelayBank) -> None:
    bank.hold(4, 2 * NS)
    GPIO.output(RELAY_4, False)
    GPIO.output(RELAY_5, True)
    assert bank.check_outputs() == [
        OutputMismatch(4, commanded_closed=True, found_closed=False, problem="output_differs"),
        OutputMismatch(5, commanded_closed=False, found_closed=True, problem="output_differs"),
    ]
    bank.expire(NS)
    assert levels() == LOW


def test_closing_the_bank_leaves_inputs(bank: RelayBank) -> None:
    bank.close_contactor()
    bank.hold(4, 2 * NS)
    bank.close()
    assert (functions(), levels()) == ([GPIO.IN] * 4, LOW)


def test_open_everything_drives_what_a_dead_guard_left_high(bus: FakeBus, pins: OffPiFactory) -> None:
    driven: list[object] = []
    lines = (CONTACTOR, HEARTBEAT, RELAY_4)
    for number in lines:
        GPIO.setup(number, GPIO.OUT, initial=True)

    def late_bus() -> FakeBus:
        driven.extend((GPIO.gpio_function(number), GPIO.input(number)) for number in lines)
        return bus

    assert open_everything(mixed_config(), late_bus, lambda: pins) == []
    assert driven == [(GPIO.OUT, False)] * 3
    assert (functions(), levels()) == ([GPIO.IN] * 4, LOW)
