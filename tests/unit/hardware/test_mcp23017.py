"""MCP23017: order and framing of what decides whether a relay ever closes by itself."""

import errno

import pytest

from cabinet.errors import BusError, ChipError
from cabinet.hardware.bus import ChipPort
from cabinet.hardware.mcp23017 import Mcp23017
from cabinet_testing.fake_bus import FakeBus, Registers

ADDRESS = 0x20  # on the wire 40 to write, 41 to read


POWER_ON = {"00": "FF FF", "02": "00 00", "0A": "00 00", "12": "00 00", "14": "00 00"}


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus({ADDRESS: Registers(1, dict(POWER_ON))})


@pytest.fixture
def chip(bus: FakeBus) -> Mcp23017:
    return Mcp23017(ChipPort(bus, "MCP23017", ADDRESS))


def test_no_pin_becomes_an_output_before_its_latch_is_low(bus: FakeBus, chip: Mcp23017) -> None:
    chip.initialise(0x03FF)
    assert bus.log == [
        "S 40 14 00 00 P",  # OLAT first
        "S 40 00 00 FC P",  # then IODIR, low byte (GPA) first
        "S 40 02 00 00 P",
        "S 40 0A Sr 41 00 00 P",
        "S 40 14 Sr 41 00 00 P",
        "S 40 00 Sr 41 00 FC P",
        "S 40 02 Sr 41 00 00 P",
    ]


@pytest.mark.parametrize(("register", "found"), [("02", "00 01"), ("0A", "20 20")], ids=["IPOL", "IOCON"])
def test_a_setting_that_no_read_back_shows_is_re_read_in_turn_and_written_again(
    bus: FakeBus, chip: Mcp23017, register: str, found: str
) -> None:
    chip.initialise(0x03FF)
    assert [chip.restore_next_setting() for _ in range(2)] == [False, False]
    bus.chips[ADDRESS].cells[register] = found  # type: ignore[union-attr]
    bus.log.clear()
    assert sorted(chip.restore_next_setting() for _ in range(2)) == [False, True]
    assert [entry for entry in bus.log if "Sr" not in entry] == [f"S 40 {register} 00 00 P"]
    assert [chip.restore_next_setting() for _ in range(2)] == [False, False]


def test_an_expander_with_its_registers_in_banks_is_put_right_before_its_pins_become_outputs(
    bus: FakeBus, chip: Mcp23017
) -> None:
    bus.chips[ADDRESS].cells["0A"] = "80 80"  # type: ignore[union-attr]
    chip.initialise(0x03FF)
    assert "S 40 0A 00 00 P" in bus.log


def test_interrupts_that_another_driver_set_up_on_the_same_chip_are_left_alone(bus: FakeBus, chip: Mcp23017) -> None:
    bus.chips[ADDRESS].cells["0A"] = "40 40"  # type: ignore[union-attr]
    chip.initialise(0x03FF)
    assert not any(chip.restore_next_setting() for _ in range(4))
    assert "S 40 0A 00 00 P" not in bus.log


def test_all_outputs_change_in_one_transaction_low_byte_first(bus: FakeBus, chip: Mcp23017) -> None:
    chip.write_outputs(0x0201)
    assert bus.log == ["S 40 14 01 02 P"]
    assert chip.latch() == 0x0201


def test_latch_directions_and_levels_are_three_registers(bus: FakeBus, chip: Mcp23017) -> None:
    bus.chips[ADDRESS] = Registers(1, {"00": "00 FC", "12": "05 01", "14": "07 02"})
    assert (chip.latch(), chip.directions(), chip.levels()) == (0x0207, 0xFC00, 0x0105)
    assert bus.log == ["S 40 14 Sr 41 07 02 P", "S 40 00 Sr 41 00 FC P", "S 40 12 Sr 41 05 01 P"]


@pytest.mark.parametrize(("register", "name"), [("14", "OLAT"), ("00", "IODIR"), ("02", "IPOL")])
def test_a_register_that_does_not_keep_what_was_written_is_told(
    bus: FakeBus, chip: Mcp23017, register: str, name: str
) -> None:
    class Forgetful(Registers):
        def write(self, payload: bytes) -> None:
            super().write(payload)
            self.cells[register] = "12 34"

    bus.chips[ADDRESS] = Forgetful(1, dict(POWER_ON))
    with pytest.raises(ChipError, match=f"MCP23017 at 0x20: {name} reads 0x3412"):
        chip.initialise(0x00FF)


def test_interrupts_are_set_up_mirrored_and_on_any_change(bus: FakeBus, chip: Mcp23017) -> None:
    bus.chips[ADDRESS] = Registers(1, POWER_ON | {"04": "00 00", "08": "FF FF"})
    chip.initialise_interrupts(0x1200)
    assert bus.log[:4] == ["S 40 02 00 00 P", "S 40 0A 40 40 P", "S 40 08 00 00 P", "S 40 04 00 12 P"]
    assert chip.interrupts_on(0x1200)
    assert not any(" 12 Sr" in line or " 10 Sr" in line for line in bus.log), "a pending one is left alone"


@pytest.mark.parametrize("cells", [{"00": "FF ED"}, {"04": "00 00"}, {"08": "00 12"}, {"0A": "00 00"}, {"02": "00 02"}])
def test_interrupts_that_an_expander_has_lost_are_seen(bus: FakeBus, chip: Mcp23017, cells: dict[str, str]) -> None:
    bus.chips[ADDRESS] = Registers(1, POWER_ON | {"04": "00 12", "08": "00 00", "0A": "40 40", **cells})
    assert not chip.interrupts_on(0x1200)


def test_interrupt_of_a_pin_that_is_an_output_is_refused(bus: FakeBus, chip: Mcp23017) -> None:
    bus.chips[ADDRESS] = Registers(1, POWER_ON | {"00": "FF ED", "04": "00 00", "08": "00 00"})
    with pytest.raises(ChipError, match="MCP23017 at 0x20: does not keep the setting of its interrupts"):
        chip.initialise_interrupts(0x1200)


def test_after_a_latch_that_could_not_be_cleared_no_pin_becomes_an_output(bus: FakeBus, chip: Mcp23017) -> None:
    bus.failures[ADDRESS] = [errno.EREMOTEIO]
    with pytest.raises(BusError, match="MCP23017 at 0x20 register 0x014: EREMOTEIO"):
        chip.initialise(0xFFFF)
    assert bus.log == ["S 40 EREMOTEIO"]
