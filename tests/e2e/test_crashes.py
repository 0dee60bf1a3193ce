"""The quick part of the crash campaigns, each time with another seed; `make campaign` runs them whole.

A test on a machine that is busy fails far above the bars, which the figures are printed beside.
"""

import pytest

from campaigns import crash, crash_service
from campaigns.runner import fresh_seed, replay, summary

pytestmark = pytest.mark.slow

SLACK = 4.0


@pytest.mark.parametrize(("campaign", "scenario", "crashes"), [
    (crash.CAMPAIGN, crash.scenario, 3),
    (crash_service.CAMPAIGN, crash_service.scenario, 2),
], ids=["guard and keeper", "service and console"])  # fmt: skip
def test_crashes_open_what_they_must_and_disturb_nothing_else(campaign, scenario, crashes):
    seed = fresh_seed()
    print(replay(campaign, seed))
    outcome = scenario(seed, verbose=False, crashes=crashes, slack=SLACK)
    for name, values in outcome.figures.items():
        print(summary(name, sorted(values)))
    assert outcome.problems == ()
