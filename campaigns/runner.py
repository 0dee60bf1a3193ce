"""Runner of seeded scenarios on all cores. It prints the progress and the command to replay a failure.

A campaign is a function from a seed to an `Outcome`. It is called in spawned processes, so it must be a module-level
function without shared state; everything random in it comes from its seed.
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

from cabinet.system.computers import COMPUTERS, HERE
from cabinet_testing import sim_computer

SEED_BITS = 40
PROGRESS_S = 5.0


class Outcome(msgspec.Struct, frozen=True):
    """Result of one scenario. If `problems` is empty, it passed. `figures` and `cells` are summed over the campaign.

    `cells` holds counts by row and column of a table; `points` are the names of the points tried, equal for equal ones.
    """

    seed: int
    problems: tuple[str, ...] = ()
    count: int = 1  # in units of the campaign, if a scenario has several
    figures: dict[str, list[float]] = {}
    cells: dict[str, dict[str, int]] = {}
    points: tuple[str, ...] = ()


Scenario = Callable[[int, bool], Outcome]  # (seed, verbose)


class Campaign(msgspec.Struct, frozen=True):
    """One campaign. `module` is the argument of `python -m` for a replay; `counted` is the unit of `Outcome.count`."""

    name: str
    module: str
    counted: str
    scenario: Scenario
    whole: int  # scenarios in a full run
    quick: int  # scenarios in `make test`
    promise: str
    processes: int | None = None  # None: one per core
    kinds: int = 1  # kinds of scenario, selected by the remainder of the seed


class Report(msgspec.Struct, frozen=True):
    """Report of a campaign run."""

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
        """Return all values of every figure, in ascending order."""
        joined: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            for name, values in outcome.figures.items():
                joined.setdefault(name, []).extend(values)
        return {name: sorted(values) for name, values in joined.items()}

    def cells(self) -> dict[str, dict[str, int]]:
        """Return the summed table, with rows and columns sorted by name."""
        summed: dict[str, dict[str, int]] = {}
        for outcome in self.outcomes:
            for row, columns in outcome.cells.items():
                for column, times in columns.items():
                    summed.setdefault(row, {}).setdefault(column, 0)
                    summed[row][column] += times
        return {row: dict(sorted(columns.items())) for row, columns in sorted(summed.items())}

    def points(self) -> int:
        """Return the number of different points."""
        return len({point for outcome in self.outcomes for point in outcome.points})


def summary(name: str, ordered: Sequence[float]) -> str:
    """Return median, p99.9 and worst of an ascending list, as text."""
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
    """Return the seeds of the scenarios; their remainders by `kinds` alternate, so all kinds are equally frequent."""
    chance = random.Random(campaign_seed)
    return [chance.getrandbits(SEED_BITS) // kinds * kinds + turn % kinds for turn in range(count)]


def attempt(scenario: Scenario, seed: int, verbose: bool = False) -> Outcome:
    """Run one scenario. If it raises an exception, that seed fails, not the campaign."""
    logging.disable(logging.NOTSET if verbose else logging.CRITICAL)  # the guard logs much about the intended faults
    try:
        return scenario(seed, verbose)
    except Exception:
        return Outcome(seed, (traceback.format_exc(limit=-4).strip(),))
    finally:
        logging.disable(logging.NOTSET)


def run(
    campaign: Campaign, count: int, campaign_seed: int, processes: int | None = None, computer: str = HERE
) -> Report:
    """Run `count` scenarios in spawned processes, with progress on stderr. If interrupted, report the finished ones.

    `computer`: of every simulated cabinet under the manual clock, see `sim_computer.choose`.
    """
    began = time.monotonic()
    print(f"{campaign.name}: {count} scenarios, campaign seed {campaign_seed}", file=sys.stderr)
    work = partial(attempt, campaign.scenario)
    workers = min(count, processes or campaign.processes or os.cpu_count() or 1)
    outcomes: list[Outcome] = []
    shown = began
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, sim_computer.choose, (computer,)) as pool:
        futures: list[Future[Outcome]] = [
            pool.submit(work, seed) for seed in seeds(campaign_seed, count, campaign.kinds)
        ]
        try:
            for future in as_completed(futures):
                outcome = future.result()
                outcomes.append(outcome)
                if outcome.problems:
                    print(
                        f"FAILED: {replay(campaign, outcome.seed, computer)}",
                        *outcome.problems,
                        sep="\n  ",
                        file=sys.stderr,
                    )
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


def replay(campaign: Campaign, seed: int, computer: str = HERE) -> str:
    """Return the command that replays one scenario."""
    on = "" if computer == HERE else f" --computer {computer}"
    return f"python -m {campaign.module} --seed {seed} --verbose{on}"


def add_computer(parser: argparse.ArgumentParser) -> None:
    """Add `--computer NAME`."""
    parser.add_argument(
        "--computer", choices=(HERE, *COMPUTERS), default=HERE, help="own time of the guard under the manual clock"
    )


def progress(campaign: Campaign, outcomes: list[Outcome], count: int, past_s: float) -> str:
    failures = sum(bool(outcome.problems) for outcome in outcomes)
    left_s = past_s / len(outcomes) * (count - len(outcomes))
    return f"{campaign.name}: {len(outcomes)}/{count}, {failures} failed, {duration(left_s)} left"


def machine() -> str:
    """Return a description of this machine."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    )


def commit() -> str:
    """Return the current commit, with a + if files other than reports have changed; "unknown" outside a checkout."""
    try:
        told = subprocess.run(["git", "describe", "--always"], capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ".", ":!docs/reports"], check=False)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip() + ("+" if changed.returncode else "")


def main(campaign: Campaign, words: Sequence[str] | None = None) -> int:
    """Run `python -m` of one campaign: a full run, or one seed. Return 1 if a scenario failed, else 0."""
    parser = argparse.ArgumentParser(prog=f"python -m {campaign.module}", description=campaign.promise)
    parser.add_argument("--count", type=int, default=campaign.whole, help="scenarios (default: %(default)s)")
    parser.add_argument("--campaign-seed", type=int, default=None, help="the same scenarios as an earlier run")
    parser.add_argument("--processes", type=int, default=None, help="default: one a core")
    parser.add_argument("--seed", type=int, default=None, help="only the scenario of this seed")
    parser.add_argument("--verbose", action="store_true", help="with --seed: say what happens")
    add_computer(parser)
    args = parser.parse_args(words)
    if args.seed is not None:
        sim_computer.choose(args.computer)
        outcome = attempt(campaign.scenario, args.seed, args.verbose)
        print(*outcome.problems or ["as promised"], sep="\n")
        for name, values in outcome.figures.items():
            print(summary(name, sorted(values)))
        return 1 if outcome.problems else 0
    seed = fresh_seed() if args.campaign_seed is None else args.campaign_seed
    report = run(campaign, args.count, seed, args.processes, args.computer)
    for name, values in report.figures().items():
        print(summary(name, values))
    for name, columns in report.cells().items():
        print(f"{name}: " + ", ".join(f"{times} × {column}" for column, times in columns.items()))
    return 1 if report.failed else 0
