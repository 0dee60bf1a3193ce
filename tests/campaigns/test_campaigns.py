"""The quick part of every campaign, each time with another seed; `make campaign` runs them whole."""

import importlib
import random
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from cabinet import safety
from cabinet.clock import NS
from cabinet.model import Fault
from cabinet.sim.chips import ade7953_registers
from cabinet.sim.chips.mcp23017 import Mcp23017
from cabinet.sim.chips.tca9548a import Tca9548a
from cabinet.sim.chips.tmp102 import Tmp102
from cabinet_testing.real_cabinet import running
from campaigns import (
    clock,
    console_fuzz,
    faults,
    inrush,
    kill_service,
    metering,
    nuisance,
    pairs,
    power_cut,
    prices,
    stuck,
)
from campaigns.disable import WITNESSES, blind, take_away
from campaigns.fault_harness import FaultHarness
from campaigns.mutations import PROTECTION_NAMES
from campaigns.runner import attempt, fresh_seed, replay, seeds

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def as_promised(campaign, seed: int, **part: int) -> None:
    """One scenario, or its `part`; if it fails, the command that runs it again."""
    outcome = attempt(partial(campaign.scenario, **part), seed)
    again = f"python -c 'from {campaign.module} import scenario; print(scenario({seed}, True, **{part}))'"
    assert outcome.problems == (), again if part else replay(campaign, seed)


def test_inrushes_trip_nothing():
    seed = fresh_seed()
    print(f"seed {seed}")
    as_promised(inrush.CAMPAIGN, seed)


def test_ordinary_charges_end_as_they_should_and_trip_nothing():
    seed = fresh_seed()
    print(f"seed {seed}")
    as_promised(nuisance.CAMPAIGN, seed, hours=2)


def test_inrushes_of_a_contactor_that_closes_twice_within_a_tenth_of_a_second_are_no_short():
    as_promised(faults.CAMPAIGN, 711196648948)


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


@pytest.mark.parametrize(
    ("campaign", "part"),
    [(clock.CAMPAIGN, {"charges": 4}), (metering.CAMPAIGN, {"resets": 1})],
    ids=[clock.CAMPAIGN.name, metering.CAMPAIGN.name],
)
def test_what_was_used_is_counted_right(campaign, part):
    seed = fresh_seed()
    print(f"seed {seed}")
    as_promised(campaign, seed, **part)


def test_two_protections_find_their_faults():
    chance = random.Random(campaign_seed := fresh_seed())
    print(f"seed {campaign_seed}")
    quick = [index for index, name in enumerate(faults.NAMES) if name not in faults.SLOW_ROWS]
    for index in chance.sample(quick, 2):
        as_promised(faults.CAMPAIGN, chance.getrandbits(32) * len(faults.TURNS) + index, faults=2)


@pytest.mark.parametrize("name", WITNESSES)
def test_witness_that_the_mutations_take_away_is_there(name, monkeypatch):
    module, _, path = WITNESSES[name].target.partition(":")
    owner = importlib.import_module(module)
    *classes, last = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    monkeypatch.setattr(owner, last, getattr(owner, last))  # as it was afterwards
    before = getattr(owner, last)
    take_away(WITNESSES[name])
    assert getattr(owner, last) is not before
    assert all((ROOT / path).exists() for path in WITNESSES[name].tests)


def test_every_fault_has_a_row_in_the_campaign_and_among_the_mutations():
    assert set(faults.NAMES) == {fault.value for fault in Fault}
    assert set(PROTECTION_NAMES) == {fault.value for fault in Fault}


def test_a_whole_fault_campaign_provokes_every_fault_two_hundred_times():
    whole = seeds(7, faults.CAMPAIGN.whole, faults.CAMPAIGN.kinds)
    rows = Counter(faults.TURNS[seed % len(faults.TURNS)] for seed in whole)
    for name, count in rows.items():
        assert count * (1 if name in faults.SLOW_ROWS else faults.FAULTS_A_SCENARIO) == 200, name


def test_a_few_stuck_registers_leave_no_weld_and_no_blind_outlet():
    print(f"seed {(campaign_seed := fresh_seed())}")
    chance = random.Random(campaign_seed)
    for _ in range(stuck.CAMPAIGN.quick):
        as_promised(stuck.CAMPAIGN, chance.getrandbits(32))


def test_two_pairs_of_faults_are_answered():
    print(f"seed {(campaign_seed := fresh_seed())}")
    chance = random.Random(campaign_seed)
    for index in chance.sample(range(len(pairs.NAMES)), 2):
        as_promised(pairs.CAMPAIGN, chance.getrandbits(32) * len(pairs.NAMES) + index)


def test_the_stuck_campaign_knows_every_register_of_every_chip():
    letters = ("a", "b")
    known = {(cell.chip, stuck._register_of(cell, letter)) for cell in stuck.CELLS for letter in letters}
    chips = {
        "meter": ade7953_registers.NAMES, "thermometer": Tmp102.register_names, "expander": Mcp23017.register_names,
        "mux": Tca9548a.register_names,
    }  # fmt: skip
    every = {(chip, register) for chip, names in chips.items() for register in names}
    assert every - known == {("expander", "iocon")}, "its modes are not modelled"


def test_a_whole_stuck_campaign_freezes_each_register_at_each_value_two_hundred_times():
    whole = seeds(7, stuck.CAMPAIGN.whole, stuck.CAMPAIGN.kinds)
    cells = Counter(stuck.CELLS[seed % len(stuck.CELLS)] for seed in whole)
    assert set(cells) == set(stuck.CELLS)
    assert all(count * stuck.TURNS >= stuck.SCENARIOS_EACH for count in cells.values())
    read = [cell for cell in stuck.CELLS if (cell.chip, cell.register) == ("meter", "peak")]
    assert [cell.value for cell in read] == list(stuck.VALUES)


def test_scenarios_of_each_register_are_so_many_cabinets():
    assert stuck.words(["--scenarios", "6", "--campaign-seed", "1"]) == [
        "--count", str(2 * len(stuck.CELLS)), "--campaign-seed", "1"
    ]  # fmt: skip
    assert stuck.words(["--seed", "5"]) == ["--seed", "5"]


class Blind:
    """A stage whose guard has opened nothing and is content."""

    def __init__(self, cell, monkeypatch) -> None:
        for table in ("PROTECTIONS", "CABINET_PROTECTIONS"):
            monkeypatch.setattr(safety, table, tuple(blind(kind) for kind in getattr(safety, table)))
        self.harness = FaultHarness(random.Random(4), lambda text: None, stuck._small(cell), stuck.SPREAD)
        self.trial = stuck.Trial(cell, self.harness)


def test_the_stuck_campaign_sees_a_guard_that_does_nothing(monkeypatch):
    """Judged by what flows: without protections a short goes on, and an outlet stays closed on a peak of nothing."""
    blind = Blind(stuck.Cell("meter", "peak", "0"), monkeypatch)
    try:
        blind.trial.alone()
        assert any("closed on a blind sensor" in each for each in blind.trial.problems)
        blind.trial.problems.clear()
        blind.harness.fault(blind.trial.victim, "breaker", acts="never")()
        blind.harness.fault(blind.trial.victim, "short", amps=40)()
        blind.trial.watch()
        assert any("the short flowed for" in each for each in blind.trial.problems)
        blind.trial.problems.clear()
        blind.harness.sim.world.fault(blind.trial.victim, "welded")
        blind.harness.sim.stop(blind.trial.victim)
        blind.harness.sim.run(NS)  # the contactor breaks the unknown current, and closes again
        blind.trial.judge_welds()
        assert any("is welded and conducts" in each for each in blind.trial.problems)
    finally:
        blind.harness.close()


def test_disabled_protection_is_blind():
    kind = blind(type("Kind", (), {"fault": Fault.SMOKE, "step": lambda self, inputs: {"alarm_ms": 1}}))
    assert kind().step(None) is None


@pytest.fixture(scope="module")
def cabinet_with_a_console(tmp_path_factory):
    with running(tmp_path_factory.mktemp("console")) as cabinet:
        cabinet.plug(3, "resistor:200")
        yield cabinet


@pytest.mark.parametrize("kind", console_fuzz.KINDS)
def test_noise_on_the_consoles_line_runs_nothing(kind, cabinet_with_a_console):
    seed = fresh_seed() // len(console_fuzz.KINDS) * len(console_fuzz.KINDS) + console_fuzz.KINDS.index(kind)
    print(f"seed {seed}")
    outcome = console_fuzz.disturbed(cabinet_with_a_console, seed, share=0.05)
    assert outcome.problems == (), replay(console_fuzz.CAMPAIGN, seed)
