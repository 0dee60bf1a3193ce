"""The quick part of the campaign that kills a fleet: `python -m campaigns fleet-kills` runs it whole."""

from cabinet_testing import fleet_site
from cabinet_testing.lacking import needs
from campaigns import fleet_kills
from campaigns.runner import fresh_seed


def test_killed_fleet_loses_and_doubles_no_fact_no_order_and_no_fen():
    needs(fleet_site.missing())
    seed = fresh_seed()
    print(f"seed {seed}")
    outcome = fleet_kills.scenario(seed, False, kills=4, whole=1, light=10)
    again = f"python -c 'from campaigns.fleet_kills import scenario; print(scenario({seed}, True, 4, 1, 10))'"
    assert outcome.problems == (), again
