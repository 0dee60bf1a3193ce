"""Muxes and ports: what goes over the wire to reach a chip, and what an error leaves behind."""

import errno

import pytest

from cabinet.errors import BusError, ChipReset, HardwareError
from cabinet.hardware.bus import ChipPort, Muxes, open_kernel_bus
from cabinet_testing.fake_bus import ControlByte, FakeBus, Registers

FIRST, SECOND = 0x70, 0x71  # on the wire E0 and E2
METER = 0x38  # on the wire 70 to write, 71 to read


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus({FIRST: ControlByte(), SECOND: ControlByte(), METER: Registers(1, {"01": "AA"})})


@pytest.fixture
def muxes(bus: FakeBus) -> Muxes:
    muxes = Muxes(bus, (FIRST, SECOND))
    muxes.was_reset()
    return muxes


def port_at(bus: FakeBus, muxes: Muxes, mux: int, channel: int) -> ChipPort:
    return ChipPort(bus, "CHIP", METER, muxes, mux, channel)


def coordinates(error: BusError) -> tuple[str, int, int | None, int]:
    return error.chip, error.address, error.register, error.errno


def test_channel_is_selected_in_a_transaction_of_its_own_and_remembered(bus: FakeBus, muxes: Muxes) -> None:
    port = port_at(bus, muxes, FIRST, 3)
    assert port.write_read(b"\x01", 1) == b"\xaa"
    port.write(b"\x02\x07")
    assert bus.log == ["S E0 08 P", "S 70 01 Sr 71 AA P", "S 70 02 07 P"]


def test_another_channel_of_the_same_mux_needs_one_write(bus: FakeBus, muxes: Muxes) -> None:
    port_at(bus, muxes, FIRST, 0).write(b"\x02")
    port_at(bus, muxes, FIRST, 7).write(b"\x02")
    assert bus.log == ["S E0 01 P", "S 70 02 P", "S E0 80 P", "S 70 02 P"]


def test_an_open_mux_is_closed_before_another_opens(bus: FakeBus, muxes: Muxes) -> None:
    muxes.select(FIRST, 0)
    muxes.select(SECOND, 1)
    muxes.select(SECOND, 2)  # the first is known to be closed
    assert bus.log == ["S E0 01 P", "S E0 00 P", "S E2 02 P", "S E2 04 P"]


def test_at_first_every_other_mux_is_closed_because_nothing_is_known(bus: FakeBus) -> None:
    Muxes(bus, (FIRST, SECOND)).select(FIRST, 0)
    assert bus.log == ["S E2 00 P", "S E0 01 P"]


def test_after_an_error_the_channel_is_selected_again(bus: FakeBus, muxes: Muxes) -> None:
    port = port_at(bus, muxes, FIRST, 0)
    bus.failures[METER] = [errno.ETIMEDOUT]
    with pytest.raises(BusError) as caught:
        port.write_read(b"\x01", 1, 0x01)
    assert coordinates(caught.value) == ("CHIP", METER, 0x01, errno.ETIMEDOUT)
    bus.take_log()
    port.write_read(b"\x01", 1)
    assert bus.log == ["S E2 00 P", "S E0 01 P", "S 70 01 Sr 71 AA P"]


def test_a_mux_that_fails_is_named_instead_of_the_chip_behind_it(bus: FakeBus, muxes: Muxes) -> None:
    bus.failures[FIRST] = [errno.EREMOTEIO]
    port = port_at(bus, muxes, FIRST, 0)
    with pytest.raises(BusError) as caught:
        port.write(b"\x02", 0x02)
    assert coordinates(caught.value) == ("TCA9548A", FIRST, None, errno.EREMOTEIO)
    assert caught.value.absent
    assert bus.take_log() == ["S E0 EREMOTEIO"]
    port.write(b"\x02")
    assert bus.log == ["S E0 01 P", "S 70 02 P"]


def test_a_failed_selection_selects_nothing_not_even_what_was_selected_before(bus: FakeBus, muxes: Muxes) -> None:
    muxes.select(FIRST, 0)
    bus.failures[FIRST] = [errno.EIO]
    with pytest.raises(BusError):
        muxes.select(FIRST, 1)
    bus.take_log()
    muxes.select(FIRST, 0)
    assert bus.log == ["S E0 01 P"]


def test_a_mux_whose_selection_failed_may_be_open_and_is_closed_before_another_opens(
    bus: FakeBus, muxes: Muxes
) -> None:
    bus.failures[FIRST] = [errno.EIO]
    with pytest.raises(BusError):
        muxes.select(FIRST, 1)
    bus.take_log()
    muxes.select(SECOND, 1)
    assert bus.log == ["S E0 00 P", "S E2 02 P"]


def test_a_mux_without_supply_does_not_blind_the_outlets_behind_the_others(bus: FakeBus) -> None:
    muxes = Muxes(bus, (FIRST, SECOND))
    del bus.chips[SECOND]
    muxes.select(FIRST, 2)
    assert bus.log == ["S E2 EREMOTEIO", "S E2 EREMOTEIO", "S E0 04 P"]


def test_a_single_lost_acknowledge_of_a_mux_to_be_closed_is_made_good(bus: FakeBus) -> None:
    muxes = Muxes(bus, (FIRST, SECOND))
    bus.failures[SECOND] = [errno.EREMOTEIO]
    muxes.select(FIRST, 2)
    assert bus.log == ["S E2 EREMOTEIO", "S E2 00 P", "S E0 04 P"]


def test_a_mux_that_may_still_be_open_keeps_the_others_from_opening(bus: FakeBus) -> None:
    muxes = Muxes(bus, (FIRST, SECOND))
    bus.failures[SECOND] = [errno.ETIMEDOUT]
    with pytest.raises(BusError) as caught:
        muxes.select(FIRST, 2)
    assert coordinates(caught.value) == ("TCA9548A", SECOND, None, errno.ETIMEDOUT)
    assert bus.log == ["S E2 ETIMEDOUT"]


def test_after_a_pulse_on_reset_no_mux_needs_closing(bus: FakeBus, muxes: Muxes) -> None:
    muxes.select(FIRST, 0)
    muxes.was_reset()
    bus.take_log()
    muxes.select(SECOND, 0)
    assert bus.log == ["S E2 01 P"]


def test_deselecting_tries_every_mux_and_tells_the_first_error(bus: FakeBus, muxes: Muxes) -> None:
    muxes.select(SECOND, 0)
    bus.take_log()
    bus.failures[FIRST] = [errno.EIO]
    with pytest.raises(BusError) as caught:
        muxes.deselect_all()
    assert coordinates(caught.value) == ("TCA9548A", FIRST, None, errno.EIO)
    assert bus.log == ["S E0 EIO", "S E2 00 P"]


def test_a_chip_before_the_muxes_needs_no_selection(bus: FakeBus) -> None:
    assert ChipPort(bus, "CHIP", METER).write_read(b"\x01", 1) == b"\xaa"
    assert bus.log == ["S 70 01 Sr 71 AA P"]


def test_a_repeated_read_brings_the_new_value(bus: FakeBus) -> None:
    bus.chips[METER] = Registers(1, {"01": ["11 22", "33 44"], "02": "55 66"})
    port = ChipPort(bus, "CHIP", METER)
    assert [port.write_read(prefix, 2) for prefix in (b"\x01", b"\x02", b"\x01")] == [
        b"\x11\x22",
        b"\x55\x66",
        b"\x33\x44",
    ]


def test_an_error_without_a_number_counts_as_eio() -> None:
    class Numberless(FakeBus):
        def i2c_rdwr(self, *i2c_msgs: object) -> None:
            raise OSError("no number")

    with pytest.raises(BusError) as caught:
        ChipPort(Numberless({}), "CHIP", METER).write(b"\x01", 0x01)
    assert coordinates(caught.value) == ("CHIP", METER, 0x01, errno.EIO)


@pytest.mark.parametrize("place", [(None, FIRST, 0), ("muxes", FIRST, None)], ids=["no muxes", "no channel"])
def test_half_a_place_behind_a_mux_is_refused(
    bus: FakeBus, muxes: Muxes, place: tuple[str | None, int, int | None]
) -> None:
    with pytest.raises(ValueError, match="CHIP"):
        ChipPort(bus, "CHIP", METER, muxes if place[0] else None, place[1], place[2])


def test_a_port_says_where_it_is(bus: FakeBus, muxes: Muxes) -> None:
    assert [str(ChipPort(bus, "CHIP", METER)), str(port_at(bus, muxes, FIRST, 2))] == [
        "0x38",
        "0x38 behind 0x70 channel 2",
    ]


@pytest.mark.parametrize("path", ["/dev/i2c-none", "/dev/null"], ids=["does not exist", "is no bus"])
def test_a_bus_that_cannot_be_had_is_named(path: str) -> None:
    with pytest.raises(HardwareError, match=path):
        open_kernel_bus(path)


@pytest.mark.parametrize("joined", [0x00, 0x04, 0x0C], ids=["none", "another", "one too many"])
def test_mux_that_joins_another_channel_than_it_was_told_is_found_and_told_again(
    bus: FakeBus, muxes: Muxes, joined: int
) -> None:
    port = port_at(bus, muxes, FIRST, 3)
    port.confirm()
    mux = bus.chips[FIRST]
    assert isinstance(mux, ControlByte)
    mux.value = joined
    with pytest.raises(ChipReset, match=f"TCA9548A at 0x70: joins channels 0x{joined:02x} instead of 0x08"):
        port.confirm()
    port.confirm()
    assert mux.value == 0x08


def test_chip_before_the_muxes_has_nothing_to_confirm(bus: FakeBus) -> None:
    ChipPort(bus, "CHIP", METER).confirm()
    assert bus.log == []
