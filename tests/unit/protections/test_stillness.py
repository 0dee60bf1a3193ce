"""A thermometer that stands still against one at which nothing happens: hours of each, in milliseconds."""

import math
import random

import pytest

from cabinet.protections.stillness import PeerThermometer, StillThermometer
from cabinet_testing.protection_harness import S

STEP_MC = 62.5
K_PER_A2 = 0.05  # of a well mounted contact: 0.5 K at 3.2 A; a socket at the standard's limit warms by 0.1


class StillnessHarness:
    """A contact, its thermometer and five others, read every second."""

    def __init__(self, noise_mc: float = 0, settle_s: float = 120, seed: int = 1) -> None:
        self.watch = StillThermometer(2_000, 3_000)
        self.at_s = 0
        self.rms_a = 0.0
        self.frozen_mc: int | None = None
        self._noise_mc, self._settle_s = noise_mc, settle_s
        self._contact_k = 0.0
        self._random = random.Random(seed)

    def ambient_c(self) -> float:
        return 25.0

    def step(self):
        self.at_s += 1
        self._contact_k += (K_PER_A2 * self.rms_a**2 - self._contact_k) / self._settle_s
        value_mc = self._shown(self.ambient_c() + self._contact_k)
        others = {place: PeerThermometer(self._shown(self.ambient_c() + 0.01 * place)) for place in range(5)}
        if self.frozen_mc is not None:
            value_mc = self.frozen_mc
        return self.watch.note(self.at_s * S, value_mc, (1000 * self.rms_a) ** 2, others)

    def run(self, seconds: int):
        """The numbers that show a still thermometer and after how long, or None and all the time."""
        for past in range(seconds):
            if (why := self.step()) is not None:
                return why, past
        return None, seconds

    def _shown(self, celsius: float) -> int:
        noise_mc = self._random.gauss(0, self._noise_mc) if self._noise_mc else 0.0
        return int(math.floor((1000 * celsius + noise_mc) / STEP_MC) * STEP_MC)


class Day(StillnessHarness):
    """Outdoors: 8 K between noon and night."""

    def ambient_c(self) -> float:
        return 20 + 4 * math.sin(2 * math.pi * self.at_s / 86_400)


@pytest.mark.parametrize(("rms_a", "within_s"), [(3.2, 160), (4.1, 120), (2.2, 560)])
def test_load_that_moves_nothing_for_minutes_shows_a_still_thermometer(rms_a, within_s):
    harness = StillnessHarness()
    harness.frozen_mc = 25_000
    assert harness.run(3600) == (None, 3600), "idle: nothing to say"
    harness.rms_a = rms_a
    why, past_s = harness.run(3600)
    assert past_s < within_s
    assert (why["temperature_mc"], why["load_ma"]) == (25_000, pytest.approx(2_000, rel=0.05))


def test_thermometer_that_froze_during_a_charge_is_found_when_the_load_goes():
    harness = StillnessHarness()
    harness.rms_a = 3.2
    harness.run(3600)
    harness.frozen_mc = 25_437
    assert harness.run(4 * 3600)[0] is None, "at a steady load that cannot be told"
    harness.rms_a = 0
    assert harness.run(3600)[1] < 180


def test_thermometer_that_froze_just_after_a_load_began_is_found_too():
    harness = StillnessHarness()
    harness.rms_a = 3.2
    harness.run(20)
    harness.frozen_mc = 25_062
    assert harness.run(3600)[1] < 240


@pytest.mark.parametrize("noise_mc", [0, 5, 40], ids=["no noise", "less than a step", "flickers"])
@pytest.mark.parametrize("settle_s", [30, 60, 300, 900])
@pytest.mark.parametrize("rms_a", [0.9, 2.1, 3.2, 5.5])
def test_healthy_thermometer_at_a_steady_load_for_hours_and_after_it_is_none(noise_mc, settle_s, rms_a):
    harness = StillnessHarness(noise_mc, settle_s)
    for load_a in (0, rms_a, 0, rms_a):
        harness.rms_a = load_a
        assert harness.run(3600)[0] is None


@pytest.mark.parametrize("settle_s", [30, 60, 300, 900])
@pytest.mark.parametrize("pause_s", [1, 5, 30, 59, 120, 400])
def test_healthy_thermometer_whose_load_pauses_again_and_again_is_none(settle_s, pause_s):
    harness = StillnessHarness(0, settle_s)
    for turn in range(12):
        harness.rms_a = 3.2
        assert harness.run(100 + 40 * turn)[0] is None
        harness.rms_a = 0
        assert harness.run(pause_s)[0] is None


@pytest.mark.parametrize("seed", range(5))
def test_healthy_thermometer_through_a_day_of_charges_is_none(seed):
    chance = random.Random(seed)
    harness = Day(noise_mc=10, settle_s=300, seed=seed)
    while harness.at_s < 86_400:
        harness.rms_a = chance.choice([0, 0, 0.5, 0.9, 1.5, 2.5, 4.0])
        assert harness.run(chance.randint(60, 14_400))[0] is None


def test_still_thermometer_is_found_when_the_day_warms_the_others():
    harness = Day()
    harness.frozen_mc = 20_000
    why, past_s = harness.run(86_400)
    assert why["others_mc"] >= 3_000
    assert past_s < 5 * 3600


def test_one_other_thermometer_that_moves_says_nothing():
    watch = StillThermometer(2_000, 3_000)
    for second in range(600):
        others = {0: PeerThermometer(25_000), 1: PeerThermometer(25_000), 2: PeerThermometer(25_000 + 10 * second)}
        assert watch.note(second * S, 25_000, 0.0, others) is None


@pytest.mark.parametrize("mean", ["load_ma2", "heat_ma2"])
def test_others_that_their_own_charges_warm_say_nothing_of_an_idle_outlet(mean):
    watch = StillThermometer(2_000, 3_000)
    for second in range(3600):
        warm = {
            place: PeerThermometer(25_000 + min(6_000, 50 * second), **{mean: min(9e6, 1e5 * second)})
            for place in range(4)
        }
        assert watch.note(second * S, 25_000, 0.0, warm | {4: PeerThermometer(25_000)}) is None


def test_outlet_that_is_not_measured_is_no_evidence():
    watch = StillThermometer(2_000, 3_000)
    for second in range(3600):
        squares = None if second % 30 == 29 else 10e6
        assert watch.note(second * S, 25_000, squares, {}) is None


def test_its_own_comparison_above_what_it_shows_counts_when_it_lasts():
    watch = StillThermometer(2_000, 3_000)
    assert [watch.compare(n * S // 2, 25_000, 70_000) is None for n in range(6)] == [True] * 4 + [False] * 2
    assert watch.compare(4 * S, 25_000, None) is None
    assert all(watch.compare(n * S, 72_000, 70_000) is None for n in range(5, 20)), "hot, and both say so"
