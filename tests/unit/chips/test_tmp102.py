"""TMP102: temperatures as the data sheet tabulates them, and answers that no TMP102 gives."""

import errno

import pytest

from cabinet.chips.bus import Port
from cabinet.chips.tmp102 import Tmp102
from cabinet.errors import BusError, ChipError
from tests.unit.chips.wire import FakeBus, Registers

ADDRESS = 0x48  # on the wire 90 to write, 91 to read


def chip_with(cells: dict[str, str | list[str]]) -> tuple[FakeBus, Tmp102]:
    bus = FakeBus({ADDRESS: Registers(1, cells)})
    return bus, Tmp102(Port(bus, "TMP102", ADDRESS))


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


@pytest.mark.parametrize("config", ["60 A0", "60 80", "62 A0"], ids=["power-on", "alert active", "interrupt mode"])
def test_a_measuring_tmp102_is_accepted(config: str) -> None:
    bus, chip = chip_with({"01": config})
    chip.validate()
    assert bus.log == [f"S 90 01 Sr 91 {config} P"]


@pytest.mark.parametrize(
    ("config", "problem"),
    [("00 A0", "no such chip"), ("40 A0", "no such chip"), ("61 A0", "shut down")],
    ids=["no resolution bits", "one resolution bit", "shut down"],
)
def test_another_chip_or_one_that_does_not_measure_is_refused(config: str, problem: str) -> None:
    _, chip = chip_with({"01": config})
    with pytest.raises(ChipError, match=f"TMP102 at 0x48: .*{problem}"):
        chip.validate()


def test_an_absent_thermometer_is_a_bus_error_with_its_register() -> None:
    bus, chip = chip_with({})
    bus.failures[ADDRESS] = [errno.EREMOTEIO, errno.EREMOTEIO]
    with pytest.raises(BusError, match="TMP102 at 0x48 register 0x000: EREMOTEIO"):
        chip.temperature_mc()
    with pytest.raises(BusError, match="TMP102 at 0x48 register 0x001: EREMOTEIO"):
        chip.validate()
