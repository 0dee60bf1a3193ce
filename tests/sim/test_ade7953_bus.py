"""The simulated ADE7953 in bytes: framing, widths, aliases, locks and checksums as the data sheet (Rev. B) has them."""

import pytest

from cabinet.errors import SimError
from cabinet.sim.chips.ade7953 import PIN_IRQ, PIN_ZX
from cabinet_testing.sim_hardware import MeterChip

RESETS = [  # data sheet p. 60-62: address, bytes, value after reset
    (0x000, 1, 0x00), (0x001, 1, 0x00), (0x004, 1, 0x40), (0x007, 1, 0x00), (0x040, 1, 0x00), (0x800, 1, 0x00),
    (0x100, 2, 0xFFFF), (0x101, 2, 0x0000), (0x102, 2, 0x8004), (0x103, 2, 0x003F), (0x107, 2, 0x0300),
    (0x110, 2, 0x0000), (0x120, 2, 0x0000),
    (0x200, 3, 0x000000), (0x203, 3, 0x00E419), (0x224, 3, 0xFFFFFF), (0x225, 3, 0xFFFFFF), (0x22C, 3, 0x100000),
    (0x22F, 3, 0x000000), (0x280, 3, 0x400000), (0x28C, 3, 0x400000), (0x37F, 4, 0xFFFFFFFF),
]  # fmt: skip


@pytest.mark.parametrize(("address", "count", "value"), RESETS)
def test_registers_hold_their_reset_values(meter: MeterChip, address: int, count: int, value: int) -> None:
    assert meter.read(address, count) == value


def test_a_write_is_pointer_then_data_most_significant_byte_first(meter: MeterChip) -> None:
    meter.chip.receive(bytes([0x02, 0x25, 0x31, 0x97, 0x50]), meter.now_ns)
    meter.chip.receive(bytes([0x02, 0x25]), meter.now_ns)
    assert meter.chip.send(3, meter.now_ns) == bytes([0x31, 0x97, 0x50])


def test_24_and_32_bit_addresses_are_one_cell(meter: MeterChip) -> None:
    meter.write(0x325, 0x00319750, 4)
    assert meter.read(0x225, 3) == 0x319750
    meter.write(0x225, 0x123456, 3)
    assert meter.read(0x325, 4) == 0x00123456


def test_signed_registers_are_sign_extended_to_32_bits(meter: MeterChip) -> None:
    meter.write(0x289, 0xFFFFFE, 3)
    assert meter.read(0x389, 4) == 0xFFFFFFFE
    meter.write(0x225, 0xFFFFFE, 3)
    assert meter.read(0x325, 4) == 0x00FFFFFE, "OILVL has no sign"


@pytest.mark.parametrize(("data", "problem"), [
    (b"\x02", "no 16-bit register address"),
    (b"\x02\x25\x00\x00", "2 bytes written to 0x225"),
    (b"\x02\x25\x00\x00\x00\x00", "4 bytes written to 0x225"),
    (b"\x02\x1a\x00\x00\x00", "0x21a cannot be written"),
    (b"\x02\x85\x00\x00\x00", "0x285 cannot be written"),
])  # fmt: skip
def test_a_frame_no_driver_should_send_raises(meter: MeterChip, data: bytes, problem: str) -> None:
    with pytest.raises(SimError, match=problem):
        meter.chip.receive(data, meter.now_ns)


@pytest.mark.parametrize(("address", "count"), [(0x225, 2), (0x225, 4), (0x102, 1), (0x285, 3)])
def test_a_read_of_a_wrong_width_or_reserved_register_raises(meter: MeterChip, address: int, count: int) -> None:
    with pytest.raises(SimError):
        meter.read(address, count)


@pytest.mark.parametrize(("address", "value", "count", "what"), [
    (0x004, 0x41, 1, "bits 0x1 of LCYCMODE"),
    (0x101, 0x0064, 2, "bits 0x64 of LINECYC"),
    (0x102, 0x8000, 2, "high-pass filter off"),
    (0x102, 0x8005, 2, "bits 0x1 of CONFIG"),
    (0x110, 0x0001, 2, "ALT_OUTPUT 0x001"),
    (0x110, 0x00A0, 2, "bits 0xa0 of ALT_OUTPUT"),
    (0x22C, 0x108000, 3, "bits 0x8000 of IRQENA"),
    (0x22F, 0x000001, 3, "bits 0x1 of IRQENB"),
    (0x800, 0x01, 1, "bits 0x1 of EX_REF"),
    (0x280, 0x100000, 3, "AIGAIN = 0x100000"),
    (0x009, 0x05, 1, "gain code 5 of PGA_IB"),
])  # fmt: skip
def test_a_bit_this_model_does_not_have_raises(
    meter: MeterChip, address: int, value: int, count: int, what: str
) -> None:
    before = meter.chip.cell(address)
    with pytest.raises(SimError, match=what):
        meter.write(address, value, count)
    assert meter.chip.cell(address) == before


def test_the_required_register_opens_for_the_very_next_write_only(meter: MeterChip) -> None:
    meter.write(0x120, 0x0030, 2)
    assert meter.read(0x120, 2) == 0x0000, "locked"
    meter.write(0x0FE, 0xAD, 1)
    meter.write(0x001, 0x07, 1)
    meter.write(0x120, 0x0030, 2)
    assert meter.read(0x120, 2) == 0x0000, "another write came between"
    meter.write(0x0FE, 0xAC, 1)
    meter.write(0x120, 0x0030, 2)
    assert meter.read(0x120, 2) == 0x0000, "a wrong key"
    meter.write(0x0FE, 0xAD, 1)
    meter.write(0x120, 0x0030, 2)
    assert meter.read(0x120, 2) == 0x0030


@pytest.mark.parametrize(("bit", "address", "count", "value"), [
    (1, 0x001, 1, 0x07), (2, 0x110, 2, 0x000A), (4, 0x225, 3, 0x123456), (4, 0x325, 4, 0x123456),
])  # fmt: skip
def test_protected_writes_are_taken_and_ignored(
    meter: MeterChip, bit: int, address: int, count: int, value: int
) -> None:
    before = meter.chip.cell(address)
    meter.write(0x040, bit, 1)
    meter.write(address, value, count)
    assert meter.chip.cell(address) == before
    meter.write(0x040, 0, 1)  # itself always writable
    meter.write(address, value, count)
    assert meter.chip.cell(address) == value


def test_the_last_access_can_be_read_back(meter: MeterChip) -> None:
    meter.write(0x225, 0x319750, 3)
    assert [meter.read(0x0FD, 1), meter.read(0x1FE, 2), meter.read(0x2FF, 3)] == [0xCA, 0x225, 0x319750]
    meter.read(0x102, 2)
    assert [meter.read(0x0FD, 1), meter.read(0x1FE, 2), meter.read(0x1FF, 2)] == [0x35, 0x102, 0x8004]
    meter.write(0x040, 0x04, 1)
    meter.write(0x225, 0x000001, 3)
    assert meter.read(0x1FE, 2) == 0x040, "an ignored write is no successful access"


def test_the_checksum_at_the_defaults_is_the_published_one_and_follows_the_covered_cells(meter: MeterChip) -> None:
    assert meter.read(0x37F, 4) == 0xFFFFFFFF, "not enabled"
    default = meter.chip._checksum()
    assert default == 0x48739163
    meter.write(0x102, 0x8104, 2)
    enabled = meter.read(0x37F, 4)
    assert enabled != default, "CONFIG itself is covered"
    meter.write(0x225, 0x123456, 3)
    assert meter.read(0x37F, 4) == enabled, "OILVL is not covered"
    meter.write(0x280, 0x400001, 3)
    assert meter.read(0x37F, 4) != enabled
    assert meter.read(0x22E, 3) & 1 << 21, "and the change is an interrupt"


def test_silent_for_66_ms_after_power_up_then_the_reset_interrupt() -> None:
    meter = MeterChip(awake=False)
    up_ns = meter.now_ns
    assert not meter.chip.answers(up_ns)
    meter.pass_ms(65)
    assert not meter.chip.answers(meter.now_ns)
    assert meter.pins == []
    meter.pass_ms(2)
    assert meter.chip.answers(meter.now_ns)
    assert meter.pins == [(PIN_IRQ, False, up_ns + 66_000_000)]
    assert meter.read(0x22D, 3) & 1 << 20, "reading IRQSTATA clears nothing"
    assert meter.pins[-1][1] is False
    assert meter.read(0x22E, 3) & 1 << 20
    assert meter.pins[-1] == (PIN_IRQ, True, meter.now_ns)
    assert not meter.read(0x22E, 3) & 1 << 20


@pytest.mark.parametrize("how", ["register", "pin"])
def test_a_reset_forgets_everything_and_says_so(meter: MeterChip, how: str) -> None:
    meter.read(0x22E, 3)
    meter.write(0x0FE, 0xAD, 1)
    meter.write(0x120, 0x0030, 2)
    meter.write(0x225, 0x123456, 3)
    meter.write(0x110, 0x000A, 2)
    meter.pins.clear()
    if how == "register":
        meter.write(0x102, 0x8084, 2)
    else:
        meter.chip.reset(meter.now_ns)
    values = [meter.read(address, count) for address, count, _ in RESETS]
    assert values == [value for _, _, value in RESETS]
    assert meter.pins == [(PIN_IRQ, False, meter.now_ns)]
    assert meter.read(0x22E, 3) & 1 << 20


def test_the_reset_interrupt_cannot_be_disabled(meter: MeterChip) -> None:
    meter.read(0x22E, 3)
    meter.write(0x22C, 0, 3)
    meter.pins.clear()
    meter.chip.reset(meter.now_ns)
    assert meter.pins == [(PIN_IRQ, False, meter.now_ns)]


def test_zx_is_channel_b_s_interrupt_only_when_told_so(meter: MeterChip) -> None:
    from cabinet.sim.waveform import RESISTIVE, steady

    meter.read(0x22E, 3)
    meter.write(0x225, round(30 / 200 * 6_500_000), 3)
    meter.write(0x22F, 1 << 13, 3)
    meter.pins.clear()
    meter.chip.follow("B", steady(meter.mains, 220 * 60, RESISTIVE), meter.now_ns)
    meter.pass_ms(20)
    assert meter.pins == [], "latched, but ALT_OUTPUT shows the zero crossings"
    meter.write(0x110, 0x000A, 2)
    assert meter.pins == [(PIN_ZX, False, meter.now_ns)]
