"""TCA9548A, TMP102 and MCP23017 in bytes, against their data sheets."""

import pytest

from cabinet.errors import SimError
from cabinet.sim.chips.mcp23017 import Mcp23017
from cabinet.sim.chips.tca9548a import Tca9548a
from cabinet.sim.chips.tmp102 import Tmp102

MS = 1_000_000


class TestTca9548a:
    def test_power_on_has_every_channel_off(self) -> None:
        mux = Tca9548a()
        assert (mux.joined, mux.send(1, 0)) == (0, b"\x00")

    def test_a_selection_takes_effect_after_stop_only(self) -> None:
        mux = Tca9548a()
        mux.receive(b"\x04", 0)
        assert mux.joined == 0
        mux.stop(0)
        assert mux.joined == 4

    def test_the_last_byte_of_a_longer_write_wins(self) -> None:
        mux = Tca9548a()
        mux.receive(b"\x01\x02\x81", 0)
        mux.stop(0)
        assert (mux.joined, mux.send(2, 0)) == (0x81, b"\x81\x81")

    def test_reset_lets_go_of_all_channels_and_of_the_bus(self) -> None:
        changes: list[int] = []
        mux = Tca9548a(lambda: changes.append(1))
        mux.receive(b"\xff", 0)
        mux.stop(0)
        mux.reset_pin(False)
        assert (mux.joined, mux.answers(0)) == (0, False)
        mux.reset_pin(True)
        assert (mux.joined, mux.answers(0), len(changes)) == (0, True, 2)


class TestTmp102:
    def read(self, chip: Tmp102, register: int, at_ns: int) -> int:
        chip.receive(bytes([register]), at_ns)
        return int.from_bytes(chip.send(2, at_ns), "big")

    @pytest.mark.parametrize(("celsius", "code"), [
        (127.9375, 0x7FF0), (100.0, 0x6400), (80.0, 0x5000), (75.0, 0x4B00), (50.0, 0x3200), (25.0, 0x1900),
        (0.25, 0x0040), (0.0, 0x0000), (-0.25, 0xFFC0), (-25.0, 0xE700), (-55.0, 0xC900), (20.938, 0x14F0),
    ])  # fmt: skip
    def test_temperatures_have_the_data_sheet_s_codes(self, celsius: float, code: int) -> None:
        chip = Tmp102(lambda at_ns: celsius, 0)
        assert self.read(chip, 0, 30 * MS) == code

    def test_extended_mode_has_thirteen_bits_and_says_so(self) -> None:
        chip = Tmp102(lambda at_ns: 150.0, 0)
        chip.receive(b"\x01\x60\xb0", 0)
        assert self.read(chip, 0, 300 * MS) == 0x4B01

    def test_reads_zero_before_the_first_conversion(self) -> None:
        chip = Tmp102(lambda at_ns: 30.0, 0)
        assert self.read(chip, 0, 25 * MS) == 0
        assert self.read(chip, 0, 27 * MS) == 0x1E00

    def test_a_value_stays_until_the_next_conversion(self) -> None:
        chip = Tmp102(lambda at_ns: at_ns / 1e9 * 100, 0)
        first = self.read(chip, 0, 30 * MS)
        assert self.read(chip, 0, 270 * MS) == first
        assert self.read(chip, 0, 280 * MS) > first

    def test_power_on_values(self) -> None:
        chip = Tmp102(lambda at_ns: 25.0, 0)
        assert [self.read(chip, register, 30 * MS) for register in (1, 2, 3)] == [0x60A0, 0x4B00, 0x5000]

    def test_the_alert_bit_follows_the_thermostat_with_its_fault_queue(self) -> None:
        celsius = [20.0]
        chip = Tmp102(lambda at_ns: celsius[0], 0)
        chip.receive(b"\x01\x68\xa0", 0)  # two faults in a row
        at = [30, 280, 530, 780, 1030, 1280, 1530]
        seen = []
        for place, temperature in enumerate([85.0, 70.0, 85.0, 85.0, 76.0, 74.0, 74.0]):
            celsius[0] = temperature
            seen.append(bool(self.read(chip, 1, at[place] * MS) & 0x20))
        assert seen == [True, True, True, False, False, False, True]  # AL is low while active

    def test_one_shot_in_shutdown(self) -> None:
        celsius = [20.0]
        chip = Tmp102(lambda at_ns: celsius[0], 0)
        assert self.read(chip, 0, 30 * MS) == 0x1400
        chip.receive(b"\x01\x61\xa0", 40 * MS)
        celsius[0] = 40.0
        assert self.read(chip, 0, 2000 * MS) == 0x1400, "shut down"
        chip.receive(b"\x01\xe1\xa0", 2000 * MS)
        assert not self.read(chip, 1, 2010 * MS) & 0x8000, "converting"
        assert self.read(chip, 1, 2030 * MS) & 0x8000
        assert self.read(chip, 0, 2030 * MS) == 0x2800

    @pytest.mark.parametrize("data", [b"\x04", b"\x01\x60", b"\x00\x12\x34", b"\x01\x62\xa0", b"\x01\x60\xa1"])
    def test_what_it_does_not_have_raises(self, data: bytes) -> None:
        with pytest.raises(SimError):
            Tmp102(lambda at_ns: 25.0, 0).receive(data, 0)


class TestMcp23017:
    def send(self, chip: Mcp23017, *data: int) -> None:
        chip.receive(bytes(data), 0)
        chip.stop(0)

    def read(self, chip: Mcp23017, register: int, count: int = 1) -> bytes:
        chip.receive(bytes([register]), 0)
        return chip.send(count, 0)

    def test_power_on_has_every_pin_an_input_and_every_latch_low(self) -> None:
        assert self.read(Mcp23017(), 0x00, 22) == b"\xff\xff" + bytes(20)

    def test_latches_drive_only_pins_that_are_outputs(self) -> None:
        driven: list[tuple[int, int]] = []
        chip = Mcp23017(lambda word, at_ns: driven.append((word, at_ns)))
        self.send(chip, 0x14, 0x05, 0x02)
        assert driven == []
        self.send(chip, 0x00, 0xFE, 0xFF)
        self.send(chip, 0x00, 0xF0, 0xFC)
        self.send(chip, 0x14, 0x00, 0x00)
        assert driven == [(0x0001, 0), (0x0205, 0), (0x0000, 0)]

    def test_outputs_change_at_stop(self) -> None:
        driven: list[tuple[int, int]] = []
        chip = Mcp23017(lambda word, at_ns: driven.append((word, at_ns)))
        self.send(chip, 0x00, 0x00, 0x00)
        chip.receive(bytes([0x14, 0x01, 0x00]), 100)
        assert driven == []
        chip.stop(195)
        assert driven == [(1, 195)]

    def test_sequential_mode_goes_on_and_rolls_over(self) -> None:
        chip = Mcp23017()
        self.send(chip, 0x14, 0x12, 0x34, 0xF0)  # the third byte lands in IODIRA
        assert self.read(chip, 0x14, 3) == b"\x12\x34\xf0"

    def test_byte_mode_toggles_within_the_pair(self) -> None:
        chip = Mcp23017()
        self.send(chip, 0x0A, 0x20)
        assert self.read(chip, 0x0B) == b"\x20", "one register at two addresses"
        self.send(chip, 0x14, 0x12, 0x34, 0x56)
        assert self.read(chip, 0x14, 2) == b"\x56\x34"

    def test_reading_gpio_shows_outputs_and_the_world(self) -> None:
        chip = Mcp23017()
        chip.set_level(7, True, 0)
        chip.set_level(15, True, 0)
        self.send(chip, 0x00, 0xF0, 0xFF)
        self.send(chip, 0x14, 0x03, 0x00)
        assert self.read(chip, 0x12, 2) == b"\x83\x80"

    def test_a_write_to_gpio_lands_in_the_latch(self) -> None:
        chip = Mcp23017()
        self.send(chip, 0x12, 0x55)
        assert self.read(chip, 0x14) == b"\x55"

    def test_brown_out_lets_go_of_every_pin(self) -> None:
        driven: list[int] = []
        chip = Mcp23017(lambda word, at_ns: driven.append(word))
        self.send(chip, 0x14, 0xFF, 0x03)
        self.send(chip, 0x00, 0x00, 0xFC)
        chip.power_up(0)
        assert driven == [0x03FF, 0]
        assert self.read(chip, 0x00, 2) == b"\xff\xff"

    def test_interrupt_falls_when_an_enabled_input_moves_and_rises_when_gpio_is_read(self) -> None:
        told: list[tuple[bool, int]] = []
        chip = Mcp23017(on_interrupt=lambda high, at_ns: told.append((high, at_ns)))
        for pin in (8, 9, 12):
            chip.set_level(pin, True, 0)
        self.send(chip, 0x0A, 0x40)
        self.send(chip, 0x05, 0x12)  # GPB1 and GPB4
        chip.set_level(8, False, 10)
        assert told == []
        chip.set_level(9, False, 20)
        chip.set_level(12, False, 30)
        assert told == [(False, 20)]
        assert self.read(chip, 0x0F) == b"\x02", "INTF: the first one"
        assert self.read(chip, 0x13) == b"\x00"
        assert told == [(False, 20), (True, 0)]
        chip.set_level(9, False, 40)
        assert len(told) == 2, "one that stays low raises nothing"
        chip.set_level(12, True, 50)
        assert told[2:] == [(False, 50)]
        assert self.read(chip, 0x11) == b"\x10", "INTCAP: GPB as it was then"

    def test_brown_out_forgets_the_interrupts(self) -> None:
        told: list[bool] = []
        chip = Mcp23017(on_interrupt=lambda high, at_ns: told.append(high))
        self.send(chip, 0x0A, 0x40)
        self.send(chip, 0x04, 0x01)
        chip.set_level(0, True, 0)
        chip.power_up(0)
        chip.set_level(0, False, 0)
        assert told == [False, True]

    @pytest.mark.parametrize("data", [(0x04, 0x01), (0x06, 0x01), (0x08, 0x80), (0x0A, 0x80), (0x0E, 0), (0x16, 0)])
    def test_what_it_does_not_have_raises(self, data: tuple[int, ...]) -> None:
        with pytest.raises(SimError):
            Mcp23017().receive(bytes(data), 0)
