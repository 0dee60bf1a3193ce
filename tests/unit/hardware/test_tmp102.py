"""TMP102: temperatures as the data sheet tabulates them, and answers that no TMP102 gives."""

import contextlib
import errno

import pytest

from cabinet.errors import BusError, ChipError, ChipReset
from cabinet.hardware.bus import ChipPort
from cabinet.hardware.tmp102 import Tmp102
from cabinet_testing.fake_bus import FakeBus, Registers

ADDRESS = 0x48  # on the wire 90 to write, 91 to read


def chip_with(cells: dict[str, str | list[str]]) -> tuple[FakeBus, Tmp102]:
    bus = FakeBus({ADDRESS: Registers(1, cells)})
    return bus, Tmp102(ChipPort(bus, "TMP102", ADDRESS))


@pytest.mark.parametrize(
    ("register", "temperature_mc"),
    [
        ("7F F0", 127_937),
        ("64 00", 100_000),
        ("50 00", 80_000),
        ("4B 00", 75_000),
        ("32 00", 50_000),
        ("19 00", 25_000),
        ("00 40", 250),
        ("00 10", 62),
        ("00 00", 0),
        ("FF F0", -63),
        ("FF C0", -250),
        ("E7 00", -25_000),
        ("C9 00", -55_000),
        ("80 00", -128_000),
    ],
)
def test_temperature_of_the_data_sheets_table(register: str, temperature_mc: int) -> None:
    bus, chip = chip_with({"00": register})
    assert chip.temperature_mc() == temperature_mc
    assert bus.log == [f"S 90 00 Sr 91 {register} P"]


@pytest.mark.parametrize("register", ["FF FF", "19 01", "19 08"], ids=["floating bus", "13-bit mode", "unused bit"])
def test_an_answer_no_tmp102_gives_is_no_temperature(register: str) -> None:
    _, chip = chip_with({"00": register})
    with pytest.raises(ChipError, match=f"0x{register.replace(' ', '').lower()}"):
        chip.temperature_mc()


POWER_ON = {"01": "60 A0", "02": "4B 00", "03": "50 00"}
LIMIT_MC = 75_000


class Real(Registers):
    """Cells of which R1 R0, AL and OS cannot be written."""

    def write(self, payload: bytes) -> None:
        super().write(payload)
        if payload[0] == 1 and len(payload) == 3:
            self.cells["01"] = f"{payload[1] & 0x1F | 0x60:02X} {payload[2] & 0xD0 | 0x20:02X}"


def chip_found(cells: dict[str, str]) -> tuple[FakeBus, Registers, Tmp102]:
    registers = Real(1, POWER_ON | cells)
    bus = FakeBus({ADDRESS: registers})
    return bus, registers, Tmp102(ChipPort(bus, "TMP102", ADDRESS))


def found_wrong(chip: Tmp102) -> bool:
    with contextlib.suppress(ChipReset):
        chip.verify_next()
        return False
    return True


def test_all_settings_are_written_and_read_back() -> None:
    bus, _, chip = chip_found({})
    assert chip.initialise(LIMIT_MC) is False
    assert bus.log == [
        "S 90 01 Sr 91 60 A0 P",
        "S 90 02 46 00 P",  # 70 degrees
        "S 90 03 4B 00 P",  # 75 degrees
        "S 90 01 60 E0 P",
        "S 90 02 Sr 91 46 00 P",
        "S 90 03 Sr 91 4B 00 P",
        "S 90 01 Sr 91 60 E0 P",
    ]


@pytest.mark.parametrize("config", ["61 A0", "E1 A0", "61 00"])
def test_a_chip_that_is_shut_down_is_woken(config: str) -> None:
    _, registers, chip = chip_found({"01": config})
    assert chip.initialise(LIMIT_MC) is True
    assert registers.cells["01"] == "60 E0"


@pytest.mark.parametrize(
    ("register", "value"),
    [
        ("01", "60 A0"),
        ("01", "61 E0"),
        ("01", "60 20"),
        ("01", "60 F0"),
        ("01", "64 C0"),
        ("02", "4B 00"),
        ("03", "7F F0"),
    ],
    ids=["reset", "shut down", "slow", "13 bits", "inverted alert", "T_LOW", "T_HIGH"],
)
def test_every_setting_is_re_read_in_turn(register: str, value: str) -> None:
    _, registers, chip = chip_found({})
    chip.initialise(LIMIT_MC)
    for _ in range(6):
        chip.verify_next()
    registers.cells[register] = value
    assert sorted(found_wrong(chip) for _ in range(3)) == [False, False, True]


def test_chip_that_does_not_keep_its_settings_is_not_trusted() -> None:
    bus, _, chip = chip_found({})

    class Deaf(Registers):
        def write(self, payload: bytes) -> None:
            super().write(payload[:1])

    bus.chips[ADDRESS] = Deaf(1, {"01": "61 A0", "02": "4B 00", "03": "50 00"})
    with pytest.raises(ChipReset):
        chip.initialise(LIMIT_MC)


@pytest.mark.parametrize(("config", "above"), [("60 E0", False), ("60 C0", True)])
def test_its_own_comparison_with_the_limit_comes_with_its_settings(config: str, above: bool) -> None:
    _, registers, chip = chip_found({})
    chip.initialise(LIMIT_MC)
    registers.cells["01"] = config
    for _ in range(3):
        chip.verify_next()
    assert chip.above_limit is above


@pytest.mark.parametrize("config", ["00 A0", "40 A0"], ids=["no resolution bits", "one resolution bit"])
def test_another_chip_is_refused_and_not_written_to(config: str) -> None:
    bus, chip = chip_with({"01": config})
    with pytest.raises(ChipError, match=r"TMP102 at 0x48: .*no such chip"):
        chip.initialise(LIMIT_MC)
    assert bus.log == [f"S 90 01 Sr 91 {config} P"]


def test_an_absent_thermometer_is_a_bus_error_with_its_register() -> None:
    bus, chip = chip_with({})
    bus.failures[ADDRESS] = [errno.EREMOTEIO, errno.EREMOTEIO]
    with pytest.raises(BusError, match="TMP102 at 0x48 register 0x000: EREMOTEIO"):
        chip.temperature_mc()
    with pytest.raises(BusError, match="TMP102 at 0x48 register 0x001: EREMOTEIO"):
        chip.initialise(LIMIT_MC)
