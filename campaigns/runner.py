"""Runs scenarios, each made from one seed, over all cores; says how far it is and how to run a failing one again.

A campaign is a function from a seed to an `Outcome`. It is called in spawned processes, so it is a function of a
module and shares nothing; everything random in it comes from its seed.
"""

import argparse
import logging
import math
import multiprocessing
import os
import platform
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import partial

import msgspec

SEED_BITS = 40
PROGRESS_S = 5.0


class Outcome(msgspec.Struct, frozen=True):
    """What came of one scenario. `problems` empty: as promised. `figures` and `cells` are collected over the campaign.

    `cells` counts by row and column of a table; `points` are names of what was tried, the same name being the same.
    """

    seed: int
    problems: tuple[str, ...] = ()
    count: int = 1  # of what the campaign counts, where a scenario is more than one
    figures: dict[str, list[float]] = {}
    cells: dict[str, dict[str, int]] = {}
    points: tuple[str, ...] = ()


Scenario = Callable[[int, bool], Outcome]  # (seed, verbose)


class Campaign(msgspec.Struct, frozen=True):
    """`module` is what `python -m` replays a seed with; `counted` is what an outcome's `count` counts."""

    name: str
    module: str
    counted: str
    scenario: Scenario
    whole: int  # scenarios of a whole run
    quick: int  # of the part in `make test`
    promise: str
    processes: int | None = None  # None: one a core
    kinds: int = 1  # of scenario, told apart by the remainder of the seed


class Report(msgspec.Struct, frozen=True):
    """A campaign that has run."""

    campaign: Campaign
    seed: int
    outcomes: list[Outcome]
    seconds: float

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.problems]

    @property
    def count(self) -> int:
        return sum(outcome.count for outcome in self.outcomes)

    def figures(self) -> dict[str, list[float]]:
        """Every figure of every outcome, in ascending order."""
        joined: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            for name, values in outcome.figures.items():
                joined.setdefault(name, []).extend(values)
        return {name: sorted(values) for name, values in joined.items()}

    def cells(self) -> dict[str, dict[str, int]]:
        """The table of all outcomes; rows and columns in the order of their names."""
        summed: dict[str, dict[str, int]] = {}
        for outcome in self.outcomes:
            for row, columns in outcome.cells.items():
                for column, times in columns.items():
                    summed.setdefault(row, {}).setdefault(column, 0)
                    summed[row][column] += times
        return {row: dict(sorted(columns.items())) for row, columns in sorted(summed.items())}

    def points(self) -> int:
        """How many different ones there were."""
        return len({point for outcome in self.outcomes for point in outcome.points})


def summary(name: str, ordered: Sequence[float]) -> str:
    """Median, p99.9 and worst of an ascending list."""
    if not ordered:
        return f"{name}: none"
    return f"{name}: " + " / ".join(f"{percentile(ordered, share):.3g}" for share in (0.5, 0.999, 1.0))


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def fresh_seed() -> int:
    return random.SystemRandom().getrandbits(32)


def seeds(campaign_seed: int, count: int, kinds: int = 1) -> list[int]:
    """The scenarios' seeds of a campaign; their remainders by `kinds` take turns, so that each comes up as often."""
    chance = random.Random(campaign_seed)
    return [chance.getrandbits(SEED_BITS) // kinds * kinds + turn % kinds for turn in range(count)]


def attempt(scenario: Scenario, seed: int, verbose: bool = False) -> Outcome:
    """One scenario; what it raises is a failure of that seed and not of the campaign."""
    logging.disable(logging.NOTSET if verbose else logging.CRITICAL)  # the guard has much to say of what is wanted here
    try:
        return scenario(seed, verbose)
    except Exception:
        return Outcome(seed, (traceback.format_exc(limit=-4).strip(),))
    finally:
        logging.disable(logging.NOTSET)


def run(campaign: Campaign, count: int, campaign_seed: int, processes: int | None = None) -> Report:
    """`count` scenarios over spawned processes; progress and failures on stderr. Interrupted, those that are done."""
    began = time.monotonic()
    print(f"{campaign.name}: {count} scenarios, campaign seed {campaign_seed}", file=sys.stderr)
    work = partial(attempt, campaign.scenario)
    workers = min(count, processes or campaign.processes or os.cpu_count() or 1)
    outcomes: list[Outcome] = []
    shown = began
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        futures: list[Future[Outcome]] = [
            pool.submit(work, seed) for seed in seeds(campaign_seed, count, campaign.kinds)
        ]
        try:
            for future in as_completed(futures):
                outcome = future.result()
                outcomes.append(outcome)
                if outcome.problems:
                    print(f"FAILED: {replay(campaign, outcome.seed)}", *outcome.problems, sep="\n  ", file=sys.stderr)
                if time.monotonic() - shown > PROGRESS_S:
                    shown = time.monotonic()
                    print(progress(campaign, outcomes, count, shown - began), file=sys.stderr)
        except KeyboardInterrupt:
            if not outcomes:
                raise
            pool.shutdown(wait=False, cancel_futures=True)
            print(f"{campaign.name}: interrupted; what is done counts", file=sys.stderr)
    report = Report(campaign, campaign_seed, outcomes, time.monotonic() - began)
    print(progress(campaign, outcomes, count, report.seconds), file=sys.stderr)
    return report


def replay(campaign: Campaign, seed: int) -> str:
    """The command that runs one scenario again."""
    return f"python -m {campaign.module} --seed {seed} --verbose"


def progress(campaign: Campaign, outcomes: list[Outcome], count: int, past_s: float) -> str:
    failures = sum(bool(outcome.problems) for outcome in outcomes)
    left_s = past_s / len(outcomes) * (count - len(outcomes))
    return f"{campaign.name}: {len(outcomes)}/{count}, {failures} failed, {duration(left_s)} left"


def machine() -> str:
    """What the figures were made on."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    )


def commit() -> str:
    """The commit that is checked out, with a + where files but reports were changed; "unknown" outside a checkout."""
    try:
        told = subprocess.run(["git", "describe", "--always"], capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ".", ":!docs/reports"], check=False)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip() + ("+" if changed.returncode else "")


def main(campaign: Campaign, words: Sequence[str] | None = None) -> int:
    """`python -m` of one campaign: a whole run, or one seed again. 1 where anything failed."""
    parser = argparse.ArgumentParser(prog=f"python -m {campaign.module}", description=campaign.promise)
    parser.add_argument("--count", type=int, default=campaign.whole, help="scenarios (default: %(default)s)")
    parser.add_argument("--campaign-seed", type=int, default=None, help="the same scenarios as an earlier run")
    parser.add_argument("--processes", type=int, default=None, help="default: one a core")
    parser.add_argument("--seed", type=int, default=None, help="only the scenario of this seed")
    parser.add_argument("--verbose", action="store_true", help="with --seed: say what happens")
    args = parser.parse_args(words)
    if args.seed is not None:
        outcome = attempt(campaign.scenario, args.seed, args.verbose)
        print(*outcome.problems or ["as promised"], sep="\n")
        for name, values in outcome.figures.items():
            print(summary(name, sorted(values)))
        return 1 if outcome.problems else 0
    report = run(
        campaign, args.count, fresh_seed() if args.campaign_seed is None else args.campaign_seed, args.processes
    )
    for name, values in report.figures().items():
        print(summary(name, values))
    for name, columns in report.cells().items():
        print(f"{name}: " + ", ".join(f"{times} × {column}" for column, times in columns.items()))
    return 1 if report.failed else 0
