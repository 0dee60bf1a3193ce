"""The simulated bus: what is joined when, how long a transfer takes, and how it fails."""

import errno

import pytest
from smbus2 import i2c_msg

from cabinet.errors import SimError
from cabinet.sim.smbus import wire_bits
from cabinet_testing.sim_hardware import EXPANDER, METER, MUX, THERMOMETER, SimHardware


def failure(call: object, *args: object) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what is looked at
        call(*args)  # type: ignore[operator]
    return caught.value.errno


@pytest.mark.parametrize(("messages", "bits"), [
    ([(0x70, b"", 0)], 11),
    ([(0x70, b"\x01", 0)], 20),
    ([(0x70, None, 1)], 20),
    ([(0x20, b"\x14\x00", 0)], 29),
    ([(0x20, b"\x14\x00\x00", 0)], 38),
    ([(0x20, b"\x14", 0), (0x20, None, 1)], 39),
    ([(0x20, b"\x14", 0), (0x20, None, 2)], 48),
    ([(0x38, b"\x02\x29", 0), (0x38, None, 3)], 66),
    ([(0x38, b"\x03\x29", 0), (0x38, None, 4)], 75),
    ([(0x38, b"\x02\x25\x00\x00\x00", 0)], 56),
])  # fmt: skip
def test_bits_on_the_wire(messages: list[tuple[int, bytes | None, int]], bits: int) -> None:
    assert wire_bits(messages) == bits


def test_a_transfer_takes_its_bits_at_the_configured_speed(cabinet: SimHardware) -> None:
    before_ns = cabinet.clock.monotonic_ns()
    cabinet.bus.write_byte(MUX, 1)
    cabinet.bus.read_word_data(EXPANDER, 0x14)
    assert cabinet.clock.monotonic_ns() - before_ns == (20 + 48) * 2500


def test_every_call_of_smbus2_reaches_the_chip_as_the_same_bytes(cabinet: SimHardware) -> None:
    bus = cabinet.bus
    bus.write_word_data(EXPANDER, 0x14, 0x0201)
    assert bus.read_word_data(EXPANDER, 0x14) == 0x0201
    assert bus.read_i2c_block_data(EXPANDER, 0x14, 2) == [0x01, 0x02]
    bus.write_i2c_block_data(EXPANDER, 0x14, [0x03, 0x01])
    assert bus.read_byte_data(EXPANDER, 0x14) == 0x03
    bus.write_byte_data(EXPANDER, 0x15, 0x00)
    bus.write_byte(EXPANDER, 0x14)
    assert [bus.read_byte(EXPANDER), bus.read_byte(EXPANDER)] == [0x03, 0x00]
    bus.write_quick(EXPANDER)
    answer = i2c_msg.read(EXPANDER, 2)
    bus.i2c_rdwr(i2c_msg.write(EXPANDER, [0x14]), answer)
    assert bytes(answer) == b"\x03\x00"
    for call in (
        lambda: bus.read_i2c_block_data(EXPANDER, 0, 33),
        lambda: bus.write_i2c_block_data(EXPANDER, 0, [0] * 33),
    ):
        with pytest.raises(ValueError, match="at most 32"):
            call()


def test_a_chip_behind_the_mux_answers_only_while_its_channel_is_on(cabinet: SimHardware) -> None:
    assert failure(cabinet.bus.read_word_data, THERMOMETER, 0) == errno.EREMOTEIO
    cabinet.select(0)
    assert cabinet.bus.read_word_data(THERMOMETER, 0) == 0x0019, "25 degrees, bytes swapped by SMBus"
    cabinet.bus.write_byte(MUX, 0)
    assert failure(cabinet.bus.read_word_data, THERMOMETER, 0) == errno.EREMOTEIO


def test_selecting_and_reading_in_one_transaction_meets_the_old_channel(cabinet: SimHardware) -> None:
    answer = i2c_msg.read(THERMOMETER, 2)
    call = (i2c_msg.write(MUX, [0x01]), i2c_msg.write(THERMOMETER, [0x00]), answer)
    assert failure(cabinet.bus.i2c_rdwr, *call) == errno.EREMOTEIO
    cabinet.bus.i2c_rdwr(*call)
    assert bytes(answer) == b"\x19\x00", "the STOP of the failed one made the selection true"


def test_two_channels_at_once_join_both_segments(cabinet: SimHardware) -> None:
    cabinet.world.outlets[3].heat.aim(30.0, cabinet.world.timeline.now_ns)  # only channel 1 gets warm
    cabinet.wait_ms(20_000)
    readings = []
    for channels in (0b01, 0b10, 0b11):
        cabinet.bus.write_byte(MUX, channels)
        readings.append(cabinet.bus.read_word_data(THERMOMETER, 0))
    assert readings[2] == readings[0] & readings[1] != readings[0], "open drain: a 0 of either wins"


def test_a_nack_ends_the_transfer_early(cabinet: SimHardware) -> None:
    before_ns = cabinet.clock.monotonic_ns()
    assert failure(cabinet.bus.write_word_data, 0x55, 0, 0) == errno.EREMOTEIO
    assert cabinet.clock.monotonic_ns() - before_ns == 11 * 2500


def test_a_read_that_is_not_last_is_more_than_the_adapter_can(cabinet: SimHardware) -> None:
    read = i2c_msg.read(EXPANDER, 1)
    assert failure(cabinet.bus.i2c_rdwr, read, i2c_msg.write(EXPANDER, [0])) == errno.EOPNOTSUPP


def test_a_stuck_segment_takes_the_whole_bus_while_it_is_joined(cabinet: SimHardware) -> None:
    cabinet.world.fault(5, "stuck_bus")
    assert cabinet.bus.read_word_data(EXPANDER, 0x14) == 0, "its channel is off"
    cabinet.select(2)
    before_ns = cabinet.clock.monotonic_ns()
    assert failure(cabinet.bus.read_word_data, EXPANDER, 0x14) == errno.ETIMEDOUT
    assert cabinet.clock.monotonic_ns() - before_ns == 10_000_000
    assert failure(cabinet.bus.write_byte, MUX, 0) == errno.ETIMEDOUT, "not even the mux hears"


def test_the_mux_s_reset_line_frees_the_bus_until_the_channel_is_joined_again(cabinet: SimHardware) -> None:
    cabinet.world.fault(5, "stuck_bus")
    cabinet.select(2)
    reset = cabinet.pins.pin(22)
    reset.output_with_state(False)
    assert failure(cabinet.bus.write_byte, MUX, 0) == errno.EREMOTEIO, "held in reset"
    reset.state = True
    cabinet.select(0)
    assert cabinet.bus.read_word_data(THERMOMETER, 0) == 0x0019
    cabinet.select(2)
    assert failure(cabinet.bus.read_word_data, THERMOMETER, 0) == errno.ETIMEDOUT
    cabinet.world.clear(5)
    assert cabinet.bus.read_word_data(THERMOMETER, 0) == 0x0019
    assert "mux_reset" in cabinet.kinds()


def test_what_no_chip_has_raises_out_of_the_bus(cabinet: SimHardware) -> None:
    cabinet.select(0)
    with pytest.raises(SimError, match="IOCON"):
        cabinet.bus.write_byte_data(EXPANDER, 0x0A, 0x80)
    with pytest.raises(SimError, match="ADE7953"):
        cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x01, 0x01, 0x00, 0x01]))


def test_the_meter_is_read_with_repeated_start_or_with_stop_between(cabinet: SimHardware) -> None:
    cabinet.select(0)
    joined = i2c_msg.read(METER, 2)
    cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x01, 0x02]), joined)
    apart = i2c_msg.read(METER, 2)
    cabinet.bus.i2c_rdwr(i2c_msg.write(METER, [0x01, 0x02]))
    cabinet.bus.i2c_rdwr(apart)
    assert bytes(joined) == bytes(apart) == b"\x80\x04"
