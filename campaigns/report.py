"""Results of the campaigns, the last run of each, stored as JSON and shown as a page.

A full run of all campaigns takes hours, so each campaign replaces only its own row; every row states the commit of its
run.
"""

import time
from pathlib import Path

import msgspec

from campaigns.runner import Report, commit, duration, machine, percentile

FOLDER = Path(__file__).parents[1] / "docs" / "reports"
MAX_SEEDS = 10  # number of failing seeds in the list


class Figure(msgspec.Struct, frozen=True):
    """One measured quantity over a campaign; the unit is in its name."""

    name: str
    count: int
    p50: float
    p999: float
    worst: float


class Row(msgspec.Struct, frozen=True):
    """One campaign's last run."""

    name: str
    promise: str
    counted: str
    count: int
    failed: int
    failing_seeds: list[int]
    share: float  # share of a full run
    seed: int
    took_s: float
    date: str
    commit: str
    machine: str
    figures: list[Figure]
    cells: dict[str, dict[str, int]] = {}  # counts by action and result
    points: int = 0  # number of different points tried, if known


class Mutations(msgspec.Struct, frozen=True):
    """First failing test for each disabled protection; None if no test failed."""

    date: str
    commit: str
    noticed: dict[str, str | None]


class CampaignResults(msgspec.Struct):
    """Content of `campaign.json`."""

    rows: dict[str, Row] = {}
    mutations: Mutations | None = None


def row(report: Report, share: float) -> Row:
    failed = report.failed
    figures = [
        Figure(name, len(values), *(round(percentile(values, at), 3) for at in (0.5, 0.999, 1.0)))
        for name, values in sorted(report.figures().items())
        if values
    ]
    campaign = report.campaign
    return Row(
        campaign.name,
        campaign.promise,
        campaign.counted,
        report.count,
        len(failed),
        [outcome.seed for outcome in failed[:MAX_SEEDS]],
        share,
        report.seed,
        round(report.seconds, 1),
        time.strftime("%Y-%m-%d"),
        commit(),
        machine(),
        figures,
        report.cells(),
        report.points(),
    )


def load(folder: Path = FOLDER) -> CampaignResults:
    """Return the stored results; empty results if there is no file."""
    kept = folder / "campaign.json"
    return msgspec.json.decode(kept.read_bytes(), type=CampaignResults) if kept.exists() else CampaignResults()


def save(results: CampaignResults, folder: Path = FOLDER) -> Path:
    """Write both files. Return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "campaign.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    page = folder / "campaign.md"
    page.write_text(text(results), encoding="utf-8")
    return page


HEAD = (
    "# Campaigns\n\nThe last run of each, written by `make campaign`, or `python -m campaigns NAME` for one. A failing "
    "seed is replayed with\nthe command that the run prints; every seed makes the same scenario again.\n\n"
    "| campaign | promise | run | failed | share of a whole run | seed | took | commit | date |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def text(results: CampaignResults) -> str:
    """Return the text of the page."""
    blocks = [HEAD + "".join(_line(each) for each in results.rows.values())]
    blocks.append("".join(f"{m}.\n" for m in sorted({each.machine for each in results.rows.values()})))
    blocks += [_details(each) for each in results.rows.values() if each.figures or each.cells]
    if results.mutations is not None:
        blocks.append(_mutations(results.mutations))
    return "\n".join(blocks)


def _line(row: Row) -> str:
    seeds = f" (seeds {', '.join(map(str, row.failing_seeds))})" if row.failing_seeds else ""
    return (
        f"| {row.name} | {row.promise} | {row.count} {row.counted} | {row.failed}{seeds} | {row.share:.0%} "
        f"| {row.seed} | {duration(row.took_s)} | {row.commit} | {row.date} |\n"
    )


def _details(row: Row) -> str:
    blocks = [f"## {row.name}\n"]
    if row.figures:
        lines = "".join(f"| {f.name} | {f.count} | {f.p50:.4g} | {f.p999:.4g} | {f.worst:.4g} |\n" for f in row.figures)
        blocks.append(f"| figure | count | p50 | p99.9 | worst |\n|---|---|---|---|---|\n{lines}")
    if row.cells:
        blocks.append(_table(row))
    return "\n".join(blocks)


def _table(row: Row) -> str:
    """Return a table with actions as rows and results as columns."""
    outcomes = sorted({outcome for columns in row.cells.values() for outcome in columns})
    lines = "".join(
        f"| {name} | {' | '.join(str(columns.get(outcome, 0) or '') for outcome in outcomes)} |\n"
        for name, columns in row.cells.items()
    )
    sums = [sum(columns.get(outcome, 0) for columns in row.cells.values()) for outcome in outcomes]
    said = f"{row.count} {row.counted}" + (f" at {row.points} different points" if row.points else "")
    return (
        f"{said}:\n\n| | {' | '.join(outcomes)} |\n|---{'|---' * len(outcomes)}|\n{lines}"
        f"| together | {' | '.join(map(str, sums))} |\n"
    )


def _mutations(mutations: Mutations) -> str:
    lines = "".join(f"| {name} | {test or '**none**'} |\n" for name, test in mutations.noticed.items())
    return (
        f"## Each protection and each witness taken away in turn\n\nCommit {mutations.commit}, {mutations.date}.\n\n"
        f"| taken away | the first test that fails |\n|---|---|\n{lines}"
    )
