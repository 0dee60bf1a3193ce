"""Currents as functions of time, against closed forms and against adding up fine steps."""

import itertools
import math
import random
from collections.abc import Callable

import pytest

from cabinet.sim.transient import HalfSinePulse, Sum
from cabinet.sim.waveform import RESISTIVE, SILENCE, STEPS, HalfWave, Mains, Periodic, Shape, steady, unit_wave

MAINS = Mains(220 * math.sqrt(2), 1_234_567_891, 10e6)
CYCLE_NS = 20_000_000
SHAPES = [Shape.of(2.5, 0.62), Shape.of(2.0, 0.78), Shape.of(1.5, 0.98), Shape.of(2.8, 0.39), RESISTIVE]


@pytest.mark.parametrize(("crest", "power_factor"), [(2.5, 0.62), (2.0, 0.78), (1.5, 0.98), (1.8, 0.82), (2.8, 0.39)])
def test_a_shape_has_the_crest_and_power_factor_it_was_made_for(crest: float, power_factor: float) -> None:
    wave = steady(MAINS, 200.0, Shape.of(crest, power_factor))
    start = MAINS.origin_ns
    rms = math.sqrt(wave.mean_square(start, start + CYCLE_NS))
    assert wave.peak_a(start, start + CYCLE_NS) / rms == pytest.approx(crest, rel=2e-3)
    assert wave.mean_w(start, start + CYCLE_NS) == pytest.approx(200.0, rel=1e-9)
    assert 200.0 / (220.0 * rms) == pytest.approx(power_factor, rel=2e-3)


def test_a_power_factor_no_such_pulse_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"allows a power factor of 0\.70"):
        Shape.of(2.5, 0.9)
    with pytest.raises(ValueError, match="below that of a sine"):
        Shape.of(1.2, 0.9)


def test_a_resistor_is_ohm_s_law() -> None:
    wave = steady(MAINS, 1000.0, RESISTIVE)
    ohm = 220.0**2 / 1000.0
    for step in range(500):
        at_ns = MAINS.origin_ns + step * 77_777
        assert wave.value_a(at_ns) == pytest.approx(MAINS.value_v(at_ns) / ohm, abs=2e-4)
    assert wave.mean_square(0, 1) == pytest.approx((1000.0 / 220.0) ** 2, rel=1e-6)
    assert wave.mean_var(0, 1) == pytest.approx(0.0, abs=1e-9)


def _beside_a_fault(rng: random.Random, shape: Shape) -> tuple[Periodic, Callable[[int], float]]:
    """A load beside a fault that conducts in some half-cycles, and the same from the formulas alone."""
    pattern = rng.choice([(True,), (True, False), (True, False, False, True)])
    load, fault = rng.uniform(0.5, 5), rng.uniform(10, 100)
    both = HalfWave.beside([(load, unit_wave(shape)), (fault, unit_wave(RESISTIVE))])
    wave = Periodic(MAINS, [(both, 1.0) if flows else (unit_wave(shape), load) for flows in pattern])

    def exact(at_ns: int) -> float:
        turns = (at_ns - MAINS.origin_ns) / MAINS.half_ns
        flows = pattern[math.floor(turns) % len(pattern)]
        return load * shape.at(math.pi * turns) + (fault * math.sin(math.pi * turns) if flows else 0.0)

    return wave, exact


@pytest.mark.parametrize("shape", SHAPES)
def test_peak_and_energy_of_any_interval_agree_with_fine_steps(shape: Shape) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(12):
        wave, exact = _beside_a_fault(rng, shape)
        start = MAINS.origin_ns + rng.randrange(-50_000_000, 50_000_000)
        end = start + rng.choice([200_000, 3_000_000, 12_345_678, 47_000_000])
        steps = (end - start) // 5_000
        grid = [start + (end - start) * i // steps for i in range(steps + 1)]
        amps = [exact(at_ns) for at_ns in grid]
        assert wave.peak_a(start, end) == pytest.approx(max(map(abs, amps)), rel=0.01, abs=0.1)
        power = [MAINS.value_v(at_ns) * a for at_ns, a in zip(grid, amps, strict=True)]
        joule = (sum(power) - (power[0] + power[-1]) / 2) * (end - start) / steps * 1e-9
        assert wave.energy_j(start, end) == pytest.approx(joule, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_agree_with_the_formula_of_the_shape(shape: Shape) -> None:
    wave = Periodic(MAINS, [(unit_wave(shape), 7.0)])
    for step in range(1000):
        at_ns = MAINS.origin_ns + step * 41_234
        angle = math.pi * (at_ns - MAINS.origin_ns) / MAINS.half_ns
        assert wave.value_a(at_ns) == pytest.approx(7.0 * shape.at(angle), abs=0.1)


def test_energy_of_hours_is_power_times_time() -> None:
    wave = steady(MAINS, 186.5, Shape.of(2.0, 0.78))
    hours = 8 * 3600 * 1_000_000_000
    assert wave.energy_j(MAINS.origin_ns, MAINS.origin_ns + hours) == pytest.approx(186.5 * 8 * 3600, rel=1e-9)


def test_energy_of_neighbouring_intervals_adds_up() -> None:
    wave = steady(MAINS, 321.0, Shape.of(2.3, 0.68))
    edges = [MAINS.origin_ns + i * 777_777 for i in range(200)]
    parts = sum(wave.energy_j(a, b) for a, b in itertools.pairwise(edges))
    assert parts == pytest.approx(wave.energy_j(edges[0], edges[-1]), rel=1e-9)


@pytest.mark.parametrize("level", [1.0, 40.0, 84.0])
def test_the_first_moment_above_a_level_is_the_sine_s(level: float) -> None:
    wave = Periodic(MAINS, [(unit_wave(RESISTIVE), 85.0)])
    found = wave.first_above_ns(level, MAINS.origin_ns)
    assert found is not None
    exact_ns = MAINS.origin_ns + math.asin(level / 85.0) / math.pi * 10e6
    assert 0 <= found - exact_ns <= 10e6 / STEPS + 1
    late_ns = MAINS.origin_ns + 5_000_000
    assert wave.first_above_ns(level, late_ns) == late_ns, "it is above already"
    assert wave.first_above_ns(85.1, MAINS.origin_ns) is None


def test_half_cycles_left_out_carry_no_current() -> None:
    nothing = HalfWave.beside([])
    wave = Periodic(MAINS, [(unit_wave(RESISTIVE), 80.0), (nothing, 1.0)])
    odd_ns = MAINS.origin_ns + 10_000_000
    assert wave.peak_a(odd_ns, odd_ns + 9_999_999) == pytest.approx(0.0, abs=0.5)
    assert wave.peak_a(odd_ns + 10_000_000, odd_ns + 19_000_000) == pytest.approx(80.0)
    assert wave.first_above_ns(30, odd_ns) == pytest.approx(odd_ns + 10_000_000 + 1_221_000, abs=45_000)
    assert wave.mean_square(0, 1) == pytest.approx(80.0**2 / 4)


def test_an_arc_goes_out_at_the_next_zero_or_where_the_pulse_ends() -> None:
    sine = Periodic(MAINS, [(unit_wave(RESISTIVE), 10.0)])
    at_ns = MAINS.origin_ns + 3_000_000
    assert sine.zero_after_ns(at_ns) == pytest.approx(MAINS.origin_ns + 10_000_000, abs=20_000)
    narrow = Shape.of(2.5, 0.62)
    pulse = Periodic(MAINS, [(unit_wave(narrow), 10.0)])
    crest_ns = MAINS.origin_ns + round((math.pi / 2 - narrow.lead) / math.pi * 10e6)
    end_ns = crest_ns + round(narrow.width / 2 / math.pi * 10e6)
    assert pulse.zero_after_ns(crest_ns) == pytest.approx(end_ns, abs=45_000)
    assert pulse.zero_after_ns(end_ns + 100_000) == end_ns + 100_000, "no current flows there"


def test_a_pulse_has_the_heat_of_a_half_sine() -> None:
    pulse = HalfSinePulse(MAINS, 60.0, MAINS.origin_ns + 4_000_000, 1_500_000)
    start, end = MAINS.origin_ns + 3_000_000, MAINS.origin_ns + 9_000_000
    assert pulse.mean_square(start, end) * (end - start) * 1e-9 == pytest.approx(60.0**2 / 2 * 1.5e-3, rel=1e-9)
    assert pulse.peak_a(start, end) == pytest.approx(60.0)
    assert pulse.peak_a(start, MAINS.origin_ns + 4_375_000) == pytest.approx(60.0 * math.sin(math.pi / 4), rel=1e-6)
    grid = [start + i * 1000 for i in range((end - start) // 1000 + 1)]
    joule = sum(pulse.value_a(at) * MAINS.value_v(at) for at in grid) * 1e-6
    assert pulse.energy_j(start, end) == pytest.approx(joule, rel=1e-4)
    rise = math.asin(0.5) / math.pi * 1_500_000
    assert pulse.first_above_ns(30.0, start) == pytest.approx(MAINS.origin_ns + 4_000_000 + rise, abs=2)
    assert pulse.first_above_ns(61.0, start) is None


def test_a_sum_is_its_parts() -> None:
    load = steady(MAINS, 300.0, Shape.of(2.3, 0.68))
    pulse = HalfSinePulse(MAINS, 40.0, MAINS.origin_ns + 5_000_000, 2_000_000)
    both = Sum([pulse, load])
    start, end = MAINS.origin_ns + 4_500_000, MAINS.origin_ns + 7_500_000
    assert both.energy_j(start, end) == pytest.approx(pulse.energy_j(start, end) + load.energy_j(start, end))
    exact = max(abs(both.value_a(at)) for at in range(start, end, 500))
    assert both.peak_a(start, end) == pytest.approx(exact, rel=0.01)
    assert both.zero_after_ns(MAINS.origin_ns + 5_500_000) == MAINS.origin_ns + 7_000_000


def test_silence_is_nothing_at_all() -> None:
    assert SILENCE.peak_a(0, 10**9) == SILENCE.energy_j(0, 10**9) == SILENCE.value_a(5) == 0.0
    assert SILENCE.first_above_ns(0.0, 0) is None
    assert SILENCE.zero_after_ns(77) == 77
