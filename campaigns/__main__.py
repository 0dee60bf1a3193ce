"""Run the campaigns one after the other; each writes its row into docs/reports/campaign.md when it ends.

python -m campaigns                      all of them: hours
python -m campaigns faults mutations     these only
python -m campaigns --share 0.1          a tenth of each
python -m campaigns nuisance --computer pi4
                                         with the own time of a Pi 4: a row beside the one without
"""

import argparse
import sys
import time

from msgspec import structs

from cabinet.system.computers import HERE
from campaigns import (
    clock,
    console_fuzz,
    crash,
    crash_service,
    faults,
    fleet_kills,
    inrush,
    kill_service,
    metering,
    nuisance,
    pairs,
    power_cut,
    prices,
    stuck,
)
from campaigns.mutations import NAMES, killed_by
from campaigns.report import Mutations, load, row, save
from campaigns.runner import Campaign, add_computer, commit, fresh_seed, run

CAMPAIGNS = (
    prices.CAMPAIGN,
    power_cut.CAMPAIGN,
    kill_service.CAMPAIGN,
    clock.CAMPAIGN,
    metering.CAMPAIGN,
    inrush.CAMPAIGN,
    nuisance.CAMPAIGN,
    faults.CAMPAIGN,
    pairs.CAMPAIGN,
    stuck.CAMPAIGN,
    crash.CAMPAIGN,
    crash_service.CAMPAIGN,
    console_fuzz.CAMPAIGN,
    fleet_kills.CAMPAIGN,
)
MUTATIONS = "mutations"


def main() -> int:
    names = [campaign.name for campaign in CAMPAIGNS]
    parser = argparse.ArgumentParser(
        prog="python -m campaigns", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join([*names, MUTATIONS])}")
    parser.add_argument("--share", type=float, default=1.0, help="of each campaign (default: all of it)")
    parser.add_argument("--processes", type=int, default=None, help="default: one a core, or what the campaign needs")
    parser.add_argument("--campaign-seed", type=int, default=None, help="the same scenarios as an earlier run")
    add_computer(parser)
    args = parser.parse_args()
    wanted = args.names or [*names, MUTATIONS]
    if unknown := set(wanted) - {*names, MUTATIONS}:
        parser.error(f"no campaign is called {', '.join(sorted(unknown))}: there are {', '.join([*names, MUTATIONS])}")
    seed = fresh_seed() if args.campaign_seed is None else args.campaign_seed
    failed = [_run(each, args.share, seed, args.processes, args.computer) for each in CAMPAIGNS if each.name in wanted]
    if MUTATIONS in wanted:
        failed.append(_mutate())
    return 1 if any(failed) else 0


def _run(campaign: Campaign, share: float, seed: int, processes: int | None, computer: str) -> bool:
    """Run one campaign. Return whether any scenario failed."""
    report = run(campaign, max(1, round(share * campaign.whole)), seed, processes, computer)
    share = min(share, len(report.outcomes) / campaign.whole)  # less if it was interrupted
    name = campaign.name if computer == HERE else f"{campaign.name} on {computer}"
    results = load()
    results.rows[name] = structs.replace(row(report, share), name=name)
    print(save(results))
    return bool(report.failed)


def _mutate() -> bool:
    """Run all mutations. Return whether any of them passes all its tests."""
    noticed = {}
    for name in NAMES:
        noticed[name] = killed_by(name)
        print(f"{MUTATIONS}: {name}: {noticed[name] or 'NOT NOTICED'}", file=sys.stderr)
    results = load()
    results.mutations = Mutations(time.strftime("%Y-%m-%d"), commit(), noticed)
    print(save(results))
    return None in noticed.values()


if __name__ == "__main__":
    raise SystemExit(main())
