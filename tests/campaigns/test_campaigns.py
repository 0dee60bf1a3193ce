"""The quick part of every campaign, each time with another seed; `make campaign` runs them whole."""

import random
from collections import Counter

import pytest

from cabinet.model import Fault
from campaigns import clock, console_fuzz, faults, inrush, kill_service, metering, nuisance, power_cut, prices
from campaigns.disable import blind
from campaigns.mutations import NAMES
from campaigns.runner import attempt, fresh_seed, replay, seeds

pytestmark = pytest.mark.slow


def as_promised(campaign, seed: int) -> None:
    """One scenario; where it fails, the command that runs it again."""
    outcome = attempt(campaign.scenario, seed)
    assert outcome.problems == (), replay(campaign, seed)


def test_inrushes_trip_nothing():
    seed = fresh_seed()
    print(f"seed {seed}")
    as_promised(inrush.CAMPAIGN, seed)


def test_ordinary_charges_end_as_they_should_and_trip_nothing():
    seed = fresh_seed()
    print(f"seed {seed}")
    as_promised(nuisance.CAMPAIGN, seed)


def test_sessions_cost_what_an_oracle_says():
    print(f"seed {(campaign_seed := fresh_seed())}")
    chance = random.Random(campaign_seed)
    for _ in range(prices.CAMPAIGN.quick):
        as_promised(prices.CAMPAIGN, chance.getrandbits(32))


def test_power_cuts_settle_every_charge_once_and_lose_no_more_than_a_checkpoint():
    print(f"seed {(campaign_seed := fresh_seed())}")
    chance = random.Random(campaign_seed)
    for _ in range(3):
        as_promised(power_cut.CAMPAIGN, chance.getrandbits(32))


def test_service_killed_at_any_instant_does_what_was_asked_once():
    seed = fresh_seed()
    print(f"seed {seed}")
    outcome = kill_service.scenario(seed, False, kills=3)
    assert outcome.problems == (), replay(kill_service.CAMPAIGN, seed)


@pytest.mark.parametrize("campaign", [clock.CAMPAIGN, metering.CAMPAIGN], ids=lambda campaign: campaign.name)
def test_what_was_used_is_counted_right(campaign):
    seed = fresh_seed()
    print(f"seed {seed}")
    as_promised(campaign, seed)


def test_three_protections_find_their_faults():
    chance = random.Random(campaign_seed := fresh_seed())
    print(f"seed {campaign_seed}")
    quick = [index for index, name in enumerate(faults.NAMES) if name not in faults.SLOW_ROWS]
    for index in chance.sample(quick, 3):
        as_promised(faults.CAMPAIGN, chance.getrandbits(32) * len(faults.TURNS) + index)


def test_every_fault_has_a_row_in_the_campaign_and_among_the_mutations():
    assert set(faults.NAMES) == {fault.value for fault in Fault}
    assert set(NAMES) == {fault.value for fault in Fault}


def test_a_whole_fault_campaign_provokes_every_fault_two_hundred_times():
    whole = seeds(7, faults.CAMPAIGN.whole, faults.CAMPAIGN.kinds)
    rows = Counter(faults.TURNS[seed % len(faults.TURNS)] for seed in whole)
    for name, count in rows.items():
        assert count * (1 if name in faults.SLOW_ROWS else faults.FAULTS_A_SCENARIO) == 200, name


def test_disabled_protection_is_blind():
    kind = blind(type("Kind", (), {"fault": Fault.SMOKE, "step": lambda self, now: {"alarm_ms": 1}}))
    assert kind().step(None) is None


@pytest.mark.parametrize("kind", console_fuzz.KINDS)
def test_noise_on_the_consoles_line_runs_nothing(kind):
    seed = fresh_seed() // len(console_fuzz.KINDS) * len(console_fuzz.KINDS) + console_fuzz.KINDS.index(kind)
    print(f"seed {seed}")
    outcome = console_fuzz.scenario(seed, False, share=0.05)
    assert outcome.problems == (), replay(console_fuzz.CAMPAIGN, seed)
