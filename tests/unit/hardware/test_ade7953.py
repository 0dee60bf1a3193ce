"""ADE7953: exact bytes on the wire, scales against the data sheet's figures, energy that neither drifts nor invents."""

import errno
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinet.clock import NS, ManualClock
from cabinet.errors import BusError, ChipError, ChipReset
from cabinet.hardware.ade7953 import ADDRESS, Ade7953, Alerts, Gain, Scale
from cabinet.hardware.bus import ChipPort
from cabinet_testing.fake_bus import FakeBus, Registers

SCALE = Scale(current_full_scale_ma=200_000, voltage_full_scale_mv=500_000)
# Full-scale power is 200 A × 500 V / 2 = 50 kW, of which a count is 1 / 206 900 Ws.
UJ_PER_COUNT = Fraction(50_000 * 1_000_000, 206_900)

POWER_ON = {
    "00 01": "00", "00 04": "40", "00 07": "00", "00 08": "00", "00 09": "00", "00 40": "00", "00 FE": "00",
    "01 02": "80 04", "01 0E": "00 00", "01 10": "00 00", "01 20": "00 00",
    "02 01": "00 00 00", "02 25": "FF FF FF", "02 29": "00 00 00", "02 2B": "00 00 00",
    "02 2C": "10 00 00", "02 2D": "10 00 00", "02 2E": "10 00 00", "02 2F": "00 00 00", "02 31": "00 00 00",
}  # fmt: skip


NEUTRAL = {
    **dict.fromkeys(("02 80", "02 81", "02 82", "02 8C", "02 8D", "02 8E"), "40 00 00"),
    **dict.fromkeys(("02 86", "02 88", "02 89", "02 92", "02 95"), "00 00 00"),
    **dict.fromkeys(("01 08", "01 09"), "00 00"),
}  # gains, offsets, phases inside the chip, in the order of writing
POWER_ON |= NEUTRAL


class MeterHarness:
    """One chip that is cells only, and the driver over it."""

    def __init__(self, gains: dict[str, Gain] | None = None, scale: Scale = SCALE) -> None:
        self.chip = Registers(2, dict(POWER_ON))
        self.bus = FakeBus({ADDRESS: self.chip})
        self.clock = ManualClock()
        self.meter = Ade7953(ChipPort(self.bus, "ADE7953", ADDRESS), scale, gains or {}, self.clock)

    def set_up(self) -> None:
        self.meter.initialise(150_000)
        self.chip.cells["02 2D"] = "00 00 00"  # reading RSTIRQSTATA cleared it, which plain cells do not do
        self.bus.take_log()


@pytest.fixture
def harness() -> MeterHarness:
    return MeterHarness()


def energy_cell(counts: int) -> str:
    return (counts & 0xFFFFFF).to_bytes(3, "big").hex(" ").upper()


# --- set-up ----------------------------------------------------------------------------------------------------------


def test_initialise_writes_the_recipe_in_its_order_and_reads_all_of_it_back(harness: MeterHarness) -> None:
    harness.meter.initialise(150_000)  # of 200 A: 0.75 × 6 500 000 = 4 875 000 = 0x4A62F8
    assert harness.bus.log == [
        "S 70 02 2E Sr 71 10 00 00 P",  # flags of before, also RESET
        "S 70 02 31 Sr 71 00 00 00 P",
        "S 70 00 40 00 P",  # WRITE_PROTECT off, for a chip that is set up anew
        "S 70 01 02 00 04 P",  # CONFIG: interface locked, high-pass on
        "S 70 00 FE AD P",  # UNLOCK, and directly after it
        "S 70 01 20 00 30 P",  # the reserved register
        "S 70 00 07 00 P",  # PGA_V, IA, IB: gain 1
        "S 70 00 08 00 P",
        "S 70 00 09 00 P",
        "S 70 00 04 40 P",  # LCYCMODE: read with reset
        "S 70 02 01 00 00 00 P",  # ACCMODE: signed
        "S 70 00 01 07 P",  # DISNOLOAD: all
        "S 70 02 25 4A 62 F8 P",  # OILVL
        "S 70 01 10 00 0A P",  # ALT_OUTPUT: pin 1 is the interrupt of B
        "S 70 02 2C 10 20 00 P",  # IRQENA: RESET and over-current
        "S 70 02 2F 00 20 00 P",  # IRQENB: over-current
        *(f"S 70 {register} {value} P" for register, value in NEUTRAL.items()),
        "S 70 00 40 07 P",  # WRITE_PROTECT on
        "S 70 01 02 Sr 71 00 04 P",
        "S 70 01 20 Sr 71 00 30 P",
        "S 70 00 07 Sr 71 00 P",
        "S 70 00 08 Sr 71 00 P",
        "S 70 00 09 Sr 71 00 P",
        "S 70 00 04 Sr 71 40 P",
        "S 70 02 01 Sr 71 00 00 00 P",
        "S 70 00 01 Sr 71 07 P",
        "S 70 02 25 Sr 71 4A 62 F8 P",
        "S 70 01 10 Sr 71 00 0A P",
        "S 70 02 2C Sr 71 10 20 00 P",
        "S 70 02 2F Sr 71 00 20 00 P",
        "S 70 00 40 Sr 71 07 P",
        *(f"S 70 {register} Sr 71 {value} P" for register, value in NEUTRAL.items()),
        "S 70 02 29 Sr 71 00 00 00 P",  # peaks of before
        "S 70 02 2B Sr 71 00 00 00 P",
    ]


@pytest.mark.parametrize(
    ("scale_ma", "gains", "alert_ma", "level"),
    [
        (50_000, {}, 25_000, 3_250_000),  # the data sheet's example, p. 48
        (200_000, {"A": Gain(current=1.25)}, 125_000, 3_250_000),  # A shows 125 A at what uncalibrated B calls 100 A
        (200_000, {"B": Gain(current=0.5)}, 125_000, 4_062_500),  # the lower level of the two: never later than asked
        (200_000, {}, 199_000, 6_175_000),  # a part of low gain never reaches more than this
    ],
    ids=["data sheet", "calibrated up", "calibrated down", "beyond the surely reachable"],
)
def test_alert_level_comes_no_later_than_asked(
    scale_ma: int, gains: dict[str, Gain], alert_ma: int, level: int
) -> None:
    harness = MeterHarness(gains, Scale(scale_ma, 500_000))
    harness.meter.initialise(alert_ma)
    assert harness.chip.cells["02 25"] == energy_cell(level)


@pytest.mark.parametrize(
    ("register", "value", "name"),
    [("01 20", "00 00", "RESERVED"), ("02 25", "FF FF FF", "OILVL"), ("01 10", "00 00", "ALT_OUTPUT")],
)
def test_a_setting_that_does_not_stick_is_named(harness: MeterHarness, register: str, value: str, name: str) -> None:
    class Stubborn(Registers):
        def write(self, payload: bytes) -> None:
            super().write(payload)
            self.cells[register] = value

    harness.bus.chips[ADDRESS] = Stubborn(2, dict(POWER_ON))
    with pytest.raises(ChipError, match=f"ADE7953 at 0x38: {name} reads"):
        harness.meter.initialise(150_000)


def test_read_only_bits_do_not_make_a_setting_differ(harness: MeterHarness) -> None:
    class Signed(Registers):
        def write(self, payload: bytes) -> None:
            super().write(payload)
            self.cells["02 01"] = "00 04 00"  # APSIGN_A: power of A is negative
            self.cells["02 2C"] = "00 20 00"  # the RESET bit reads as it likes

    harness.bus.chips[ADDRESS] = Signed(2, dict(POWER_ON))
    harness.meter.initialise(150_000)
    assert harness.bus.log[-1] == "S 70 02 2B Sr 71 00 00 00 P"


# --- a chip that lost its set-up -------------------------------------------------------------------------------------


def test_verify_of_a_healthy_chip_is_four_reads_that_clear_nothing(harness: MeterHarness) -> None:
    harness.set_up()
    harness.meter.verify()
    assert harness.bus.log == [
        "S 70 02 2D Sr 71 00 00 00 P",  # IRQSTATA, not RSTIRQSTATA
        "S 70 01 02 Sr 71 00 04 P",
        "S 70 01 20 Sr 71 00 30 P",
        "S 70 02 25 Sr 71 4A 62 F8 P",
    ]


@pytest.mark.parametrize(
    ("register", "value", "problem"),
    [
        ("02 2D", "10 00 00", "was reset"),
        ("01 02", "80 04", "CONFIG reads 0x8004 instead of 0x4"),
        ("01 20", "00 00", "RESERVED reads 0x0 instead of 0x30"),
        ("02 25", "FF FF FF", "OILVL reads 0xffffff instead of 0x4a62f8"),
    ],
)
@pytest.mark.parametrize("verify", [Ade7953.verify, Ade7953.verify_next], ids=["at once", "one read a call"])
def test_a_chip_back_at_power_on_values_is_found(
    harness: MeterHarness, verify: Callable[[Ade7953], None], register: str, value: str, problem: str
) -> None:
    harness.set_up()
    harness.chip.cells[register] = value

    def a_full_turn() -> None:
        for _ in range(39):  # 13 settings and the RESET flag, twice; 13 of calibration
            verify(harness.meter)

    with pytest.raises(ChipError, match=f"ADE7953 at 0x38: {problem}"):
        a_full_turn()


def test_verifying_piecewise_reads_everything_in_turn_one_read_a_call(harness: MeterHarness) -> None:
    harness.set_up()
    for _ in range(21):
        harness.meter.verify_next()
    turn = harness.bus.take_log()
    assert len(turn) == 21
    neutral = {f"S 70 {register} Sr 71 {value} P" for register, value in NEUTRAL.items()}
    assert len(set(turn) - neutral) == 14, "13 settings and the RESET flag"
    for _ in range(18):
        harness.meter.verify_next()
    assert set(turn) | set(harness.bus.log) >= neutral


@pytest.mark.parametrize("register", NEUTRAL)
def test_calibration_inside_the_chip_that_is_not_neutral_is_found(harness: MeterHarness, register: str) -> None:
    harness.set_up()
    harness.chip.cells[register] = "20 00 00" if register.startswith("02") else "00 10"
    problems = 0
    for _ in range(39):
        try:
            harness.meter.verify_next()
        except ChipReset:
            problems += 1
    assert problems == 1


@pytest.mark.parametrize("verify", [Ade7953.verify, Ade7953.verify_next])
def test_a_chip_that_was_never_set_up_does_not_pass(harness: MeterHarness, verify: Callable[[Ade7953], None]) -> None:
    with pytest.raises(ChipError, match="never set up"):
        verify(harness.meter)


# --- readings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("input", "register"), [("A", "02 29"), ("B", "02 2B")])
@pytest.mark.parametrize(
    ("cell", "peak_ma"),
    [("00 00 00", 0), ("63 2E A0", 200_000), ("31 97 50", 100_000), ("00 00 41", 2), ("80 00 00", 258_111)],
    ids=["nothing", "full scale", "half scale", "two mA", "beyond full scale"],
)
def test_peak_is_one_read_of_the_register_that_resets(
    harness: MeterHarness, input: str, register: str, cell: str, peak_ma: int
) -> None:
    harness.chip.cells[register] = cell
    assert harness.meter.peak_ma(input) == peak_ma
    assert harness.bus.log == [f"S 70 {register} Sr 71 {cell} P"]


@pytest.mark.parametrize(("input", "register"), [("A", "02 1A"), ("B", "02 1B")])
def test_rms_current_at_full_scale_is_that_of_a_full_scale_sine(
    harness: MeterHarness, input: str, register: str
) -> None:
    harness.chip.cells[register] = energy_cell(9_032_007)
    assert harness.meter.current_ma(input) == 141_421  # 200 A / √2
    assert harness.bus.log == [f"S 70 {register} Sr 71 89 D1 47 P"]


def test_voltage_agrees_with_a_published_measurement() -> None:
    harness = MeterHarness(scale=Scale(200_000, 200_500))  # 0.5 V times a divider of 401
    harness.chip.cells |= {"02 1C": energy_cell(1_244_824), "02 18": energy_cell(892_104)}
    assert harness.meter.voltage_mv() == 19_540
    assert harness.meter.voltage_sample_mv() == 27_518
    assert harness.bus.log == ["S 70 02 1C Sr 71 12 FE 98 P", "S 70 02 18 Sr 71 0D 9C C8 P"]


def test_a_voltage_sample_has_a_sign(harness: MeterHarness) -> None:
    harness.chip.cells["02 18"] = energy_cell(-4_044_433)
    assert harness.meter.voltage_sample_mv() == -311_110


@pytest.mark.parametrize(("input", "register"), [("A", "02 12"), ("B", "02 13")])
@pytest.mark.parametrize(("code", "power_mw"), [(4_862_401, 50_000_000), (-4_862_401, -50_000_000), (10, 103), (0, 0)])
def test_power_at_full_scale_is_the_product_of_both_rms(
    harness: MeterHarness, input: str, register: str, code: int, power_mw: int
) -> None:
    harness.chip.cells[register] = energy_cell(code)
    assert harness.meter.power_mw(input) == power_mw
    assert harness.bus.log == [f"S 70 {register} Sr 71 {energy_cell(code)} P"]


def test_calibration_is_each_inputs_own() -> None:
    harness = MeterHarness({"A": Gain(current=1.1, power=0.9)})
    full = {"02 29": 6_500_000, "02 2B": 6_500_000, "02 1A": 9_032_007, "02 1B": 9_032_007}
    full |= {"02 12": 4_862_401, "02 13": 4_862_401, "02 1E": 206_900, "02 1F": 206_900}
    harness.chip.cells |= {register: energy_cell(code) for register, code in full.items()}
    meter = harness.meter
    assert [(meter.peak_ma(i), meter.current_ma(i), meter.power_mw(i), meter.energy_uj(i)) for i in "AB"] == [
        (220_000, 155_563, 45_000_000, 45_000_000_000),
        (200_000, 141_421, 50_000_000, 50_000_000_000),
    ]


@pytest.mark.parametrize(
    ("cell", "frequency_mhz"),
    [("11 7A", 50_000), ("0E 90", 60_002), ("00 00", None), ("FF FF", None)],
    ids=["50 Hz", "60 Hz", "no crossing yet", "floating bus"],
)
def test_frequency_is_that_of_the_period_register(harness: MeterHarness, cell: str, frequency_mhz: int | None) -> None:
    harness.chip.cells["01 0E"] = cell
    assert harness.meter.frequency_mhz() == frequency_mhz
    assert harness.bus.log == [f"S 70 01 0E Sr 71 {cell} P"]


@pytest.mark.parametrize(
    ("register", "read"),
    [
        ("02 29", lambda meter: meter.peak_ma("A")),
        ("02 1B", lambda meter: meter.current_ma("B")),
        ("02 1C", lambda meter: meter.voltage_mv()),
    ],
    ids=["peak", "current", "voltage"],
)
def test_all_ones_are_a_bus_nobody_drives_and_no_current(
    harness: MeterHarness, register: str, read: Callable[[Ade7953], int]
) -> None:
    harness.chip.cells[register] = "FF FF FF"
    with pytest.raises(ChipError, match=r"impossible .* 0xffffff"):
        read(harness.meter)


@pytest.mark.parametrize(
    ("input", "register", "cell", "alerts"),
    [
        ("A", "02 2E", "00 00 00", Alerts(overcurrent=False, reset=False)),
        ("A", "02 2E", "00 20 00", Alerts(overcurrent=True, reset=False)),
        ("A", "02 2E", "10 00 00", Alerts(overcurrent=False, reset=True)),
        ("A", "02 2E", "EF DF FF", Alerts(overcurrent=False, reset=False)),
        ("B", "02 31", "00 20 00", Alerts(overcurrent=True, reset=False)),
        ("B", "02 31", "10 00 00", Alerts(overcurrent=False, reset=False)),
    ],
    ids=["A quiet", "A over-current", "A reset", "A all others", "B over-current", "B has no reset flag"],
)
def test_taking_alerts_reads_the_register_that_releases_the_line(
    harness: MeterHarness, input: str, register: str, cell: str, alerts: Alerts
) -> None:
    harness.chip.cells[register] = cell
    assert harness.meter.take_alerts(input) == alerts
    assert harness.bus.log == [f"S 70 {register} Sr 71 {cell} P"]


def test_a_failed_read_names_chip_and_register(harness: MeterHarness) -> None:
    harness.bus.failures[ADDRESS] = [errno.ETIMEDOUT]
    with pytest.raises(BusError, match="ADE7953 at 0x38 register 0x22b: ETIMEDOUT"):
        harness.meter.peak_ma("B")


# --- energy ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-0x800000, 0x7FFFFF), max_size=60), st.sampled_from([1.0, 0.987654, 1.5]))
def test_energy_is_exact_whatever_the_readings_were(readings: list[int], gain: float) -> None:
    harness = MeterHarness({"B": Gain(power=gain)})
    harness.chip.cells["02 1F"] = [energy_cell(counts) for counts in readings]
    total_uj = sum(harness.meter.energy_uj("B") for _ in readings)
    assert total_uj == sum(readings) * UJ_PER_COUNT * round(gain * 1_000_000) // 1_000_000


def test_inputs_carry_their_fractions_apart(harness: MeterHarness) -> None:
    ones = [energy_cell(1)] * 1000
    harness.chip.cells |= {"02 1E": list(ones), "02 1F": list(ones)}
    sums = dict.fromkeys("AB", 0)
    for _ in ones:
        for input in sums:
            sums[input] += harness.meter.energy_uj(input)
    assert sums == dict.fromkeys("AB", 1000 * UJ_PER_COUNT // 1)


def test_a_failed_energy_read_counts_nothing_and_nothing_twice(harness: MeterHarness) -> None:
    harness.chip.cells["02 1E"] = [energy_cell(1000), energy_cell(7)]
    assert harness.meter.energy_uj("A") == int(1000 * UJ_PER_COUNT)
    harness.bus.failures[ADDRESS] = [errno.EREMOTEIO]
    with pytest.raises(BusError, match="register 0x21e"):
        harness.meter.energy_uj("A")
    assert harness.meter.energy_uj("A") == int(1007 * UJ_PER_COUNT) - int(1000 * UJ_PER_COUNT)


def test_energy_read_in_time_is_one_transfer_and_taken_as_it_is(harness: MeterHarness) -> None:
    harness.chip.cells["02 1E"] = ["00 00 00", energy_cell(-0x800000)]
    harness.meter.energy_uj("A")
    harness.clock.advance_ns(40 * NS)
    assert harness.meter.energy_uj("A") == -0x800000 * UJ_PER_COUNT // 1
    assert harness.bus.log == ["S 70 02 1E Sr 71 00 00 00 P", "S 70 02 1E Sr 71 80 00 00 P"]


@pytest.mark.parametrize(
    ("unread_s", "power_code", "true_counts"),
    [
        (3600, 0, 0),
        (3600, 20, 3_064),
        (41, 4_862_401, 8_482_900),
        (2000, 194_496, 16_552_000),
        (7200, 194_496, 59_587_200),
        (2000, -194_496, -16_552_000),
    ],
    ids=["idle hour", "standby hour", "just over", "past one turn", "several turns", "wired the other way round"],
)
def test_after_long_silence_the_present_power_tells_how_often_the_register_turned_over(
    harness: MeterHarness, unread_s: int, power_code: int, true_counts: int
) -> None:
    harness.chip.cells |= {"02 1E": ["00 00 00", energy_cell(true_counts)], "02 12": energy_cell(power_code)}
    harness.meter.energy_uj("A")
    harness.clock.advance_ns(unread_s * NS)
    assert harness.meter.energy_uj("A") == true_counts * UJ_PER_COUNT // 1


def test_power_is_read_before_the_energy_that_reading_clears(harness: MeterHarness) -> None:
    harness.chip.cells |= {"02 1E": ["00 00 00", energy_cell(500)], "02 12": energy_cell(0)}
    harness.meter.energy_uj("A")
    harness.clock.advance_ns(60 * NS)
    harness.bus.take_log()
    harness.bus.failures[ADDRESS] = [errno.EREMOTEIO]
    with pytest.raises(BusError, match="register 0x212"):
        harness.meter.energy_uj("A")
    assert harness.bus.take_log() == ["S 70 EREMOTEIO"]
    assert harness.meter.energy_uj("A") == int(500 * UJ_PER_COUNT)
