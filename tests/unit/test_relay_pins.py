"""Relay pins: their names in the configuration, and a bank built from them."""

import pytest
from gpiozero.pins.mock import MockFactory

from cabinet.clock import NS, ManualClock
from cabinet.relays import RelayBank, RelayPin
from cabinet_testing.fake_bus import FakeBus, Registers
from cabinet_testing.relay_harness import (
    CONTACTOR,
    EXPANDER,
    HEARTBEAT,
    OTHER_EXPANDER,
    POWER_ON,
    RELAY_4,
    mixed_config,
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("expander:0x20/3", RelayPin(6, 0x20, 3)),
        ("expander:0x27/15", RelayPin(6, 0x27, 15)),
        ("gpio:17", RelayPin(6, None, 17)),
    ],
)
def test_places_are_named_as_in_the_configuration(text: str, place: RelayPin) -> None:
    assert RelayPin.parse(6, text) == place


@pytest.mark.parametrize("text", ["", "gpio:", "gpio:1x", "expander:0x20", "expander:32/1", "Expander:0x20/1"])
def test_another_form_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="neither expander"):
        RelayPin.parse(6, text)


def test_a_bank_is_built_as_the_configuration_says() -> None:
    bus = FakeBus({address: Registers(1, dict(POWER_ON)) for address in (EXPANDER, OTHER_EXPANDER)})
    pins = MockFactory()
    bank = RelayBank.from_config(mixed_config(), bus, pins, ManualClock())
    bank.initialise()
    assert [entry for entry in bus.log if "Sr" not in entry] == [
        "S 40 14 00 00 P",
        "S 40 00 08 FC P",  # pins 0 to 9 without pin 3
        "S 40 02 00 00 P",
        "S 42 14 00 00 P",
        "S 42 00 FF FF P",
        "S 42 02 00 00 P",
    ]
    bank.close_contactor()
    for outlet in range(1, 11):
        bank.hold(outlet, 10 * NS)
    assert bus.log[-1] == "S 40 14 F7 03 P"
    assert [pins.pin(number).state for number in (CONTACTOR, RELAY_4, HEARTBEAT)] == [True, True, False]
