"""All campaigns, whole, one after the other; the report goes to docs/reports/campaign.md.

python -m campaigns [--share 0.1]      a tenth of each
"""

import argparse
import time
from pathlib import Path

from campaigns import faults, inrush
from campaigns.mutations import NAMES, killed_by
from campaigns.runner import HEAD, commit, fresh_seed, machine, run

CAMPAIGNS = (inrush.CAMPAIGN, faults.CAMPAIGN)
REPORT = Path(__file__).parents[1] / "docs" / "reports" / "campaign.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m campaigns", description=__doc__.partition("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="of each campaign (default: all of it)")
    parser.add_argument("--campaign-seed", type=int, default=None, help="the same scenarios as an earlier run")
    args = parser.parse_args()
    seed = fresh_seed() if args.campaign_seed is None else args.campaign_seed
    reports = [run(each, max(1, round(args.share * each.whole)), seed) for each in CAMPAIGNS]
    noticed = [(name, killed_by(name)) for name in NAMES]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(
        "# Campaigns\n\nWritten by `make campaign`; a failing seed is replayed with the command that it prints.\n\n"
        f"{machine()}, commit {commit()}, {time.strftime('%Y-%m-%d')}, share {args.share:g} of a whole run.\n\n"
        + "\n".join([HEAD, *(report.row() for report in reports)])
        + "\n\n## Each protection disabled in turn\n\n| disabled | the first test that fails |\n|---|---|\n"
        + "".join(f"| {name} | {test or '**none**'} |\n" for name, test in noticed),
        encoding="utf-8",
    )
    print(REPORT)
    failed = any(report.failed for report in reports) or any(test is None for _, test in noticed)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
