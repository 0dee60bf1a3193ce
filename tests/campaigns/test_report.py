"""The page of the campaigns."""

from cabinet_testing import sim_computer
from campaigns.report import CampaignResults, Mutations, load, row, save, text
from campaigns.runner import Campaign, Outcome, Report, replay, run

CAMPAIGN = Campaign("falls", "campaigns.falls", "falls", lambda seed, verbose: Outcome(seed), 10, 1, "nobody is hurt")


def report(*outcomes: Outcome) -> Report:
    return Report(CAMPAIGN, 7, list(outcomes), 61.0)


def test_page_shows_what_failed_and_the_seed_that_replays_it(tmp_path):
    hurt = Outcome(99, ("a knee",), 2, {"height m": [1.0, 3.0]})
    results = CampaignResults({"falls": row(report(Outcome(5), hurt), 0.5)})
    page = save(results, tmp_path).read_text()
    assert "| falls | nobody is hurt | 3 falls | 1 (seeds 99) | 50% | 7 | 1 min 1 s |" in page
    assert "| height m | 2 | 1 | 3 | 3 |" in page


def test_table_adds_up_what_came_of_what_was_done_and_counts_different_points(tmp_path):
    one = Outcome(5, cells={"before noon": {"dry": 2}, "after": {"wet": 1}}, points=("a", "b", "c"))
    two = Outcome(6, cells={"before noon": {"dry": 1, "wet": 1}}, points=("b", "c"))
    page = save(CampaignResults({"falls": row(report(one, two), 1)}), tmp_path).read_text()
    assert "2 falls at 3 different points:\n\n| | dry | wet |\n|---|---|---|\n" in page
    assert "| after |  | 1 |\n| before noon | 3 | 1 |\n| together | 3 | 2 |\n" in page
    assert load(tmp_path).rows["falls"].points == 3


def test_each_campaign_replaces_its_own_row_and_leaves_the_others(tmp_path):
    save(CampaignResults({"falls": row(report(Outcome(5)), 1), "jumps": row(report(Outcome(6)), 1)}), tmp_path)
    results = load(tmp_path)
    results.rows["falls"] = row(report(Outcome(5), Outcome(6)), 1)
    save(results, tmp_path)
    assert {name: each.count for name, each in load(tmp_path).rows.items()} == {"falls": 2, "jumps": 1}


def test_protection_that_no_test_misses_stands_out():
    assert "| smoke | **none** |" in text(CampaignResults(mutations=Mutations("2026-11-24", "abc", {"smoke": None})))


def with_its_computer(seed: int, verbose: bool) -> Outcome:
    chosen = sim_computer.chosen()
    return Outcome(seed, points=("here" if chosen is None else chosen.model.name,))


def test_computer_is_the_one_of_every_scenario_and_of_its_replay():
    campaign = Campaign("falls", "campaigns.falls", "falls", with_its_computer, 2, 1, "nobody is hurt")
    assert {outcome.points for outcome in run(campaign, 2, 7, 1, "pi5").outcomes} == {("Raspberry Pi 5",)}
    assert {outcome.points for outcome in run(campaign, 1, 7, 1).outcomes} == {("here",)}
    assert sim_computer.chosen() is None, "only in the processes of the scenarios"
    assert replay(campaign, 5, "pi5") == "python -m campaigns.falls --seed 5 --verbose --computer pi5"
    assert replay(campaign, 5) == "python -m campaigns.falls --seed 5 --verbose"
