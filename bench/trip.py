"""Time from the fault current to the command of relay or contactor, by the simulator's clock, over random shorts.

There are two parts. Under a manual clock the real guard runs over the simulated chips in one process, with and
without alert lines: thousands of shorts without scheduler effects, compared with the bare limit, the earliest time at
which the waveform has exceeded the limit in two half-cycles (or once the hard ceiling). In real time the real processes
run: guard and simulator, and a service with concurrent web requests, exports and syncs. Amperes are RMS of the actual
current: a half wave of 25 A is half of a sine of 35 A.

    python -m bench.trip [--manual 1000] [--real 60] [--seed N]
"""

import argparse
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from bench.shorts import SHOTS, Shot, batch
from campaigns.runner import commit, machine, percentile

BAR_MS = {"full": 20.0, "half": 35.0, "intermittent": 100.0}
CEILING_BAR_MS = 3.0
RATIO_BAR = 1.2
SHOWN = 5  # number of shorts over the limit in the output
HEAD = "| shorts | count | p50 ms | p99.9 ms | worst ms | bar ms | over the bar |\n|---|---|---|---|---|---|---|"


PATHS = {"alert": "with alert lines", "polled": "polled only"}


def manual(count: int, seed: int) -> list[Shot]:
    """Run shorts on all cores, half with alert lines, half polled only."""
    chance = random.Random(seed)
    seeds = [chance.getrandbits(40) for _ in range(max(1, count // (2 * SHOTS)))]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        shots: list[Shot] = []
        for path in ("alert", "polled"):
            for done in pool.map(partial(batch, path=path), seeds):
                shots += done
        return shots


def row(name: str, took: list[float], bar_ms: float) -> str:
    ordered = sorted(took)
    points = " | ".join(f"{percentile(ordered, share):.2f}" for share in (0.5, 0.999, 1.0))
    return f"| {name} | {len(ordered)} | {points} | {bar_ms:.0f} | {sum(ms > bar_ms for ms in ordered)} |"


def table(title: str, shots: list[Shot]) -> None:
    """Print the rows of one part, and the ratio to the bare limit if it is known."""
    for path, words in PATHS.items():
        mine = [shot for shot in shots if shot.path == path]
        for shape, bar_ms in BAR_MS.items():
            took = [shot.took_ms for shot in mine if shot.shape == shape and not shot.over_ceiling]
            if took:
                print(row(f"{title}, {words}: {shape}", took, bar_ms))
        over = [shot.took_ms - shot.ceiling_ms for shot in mine if shot.ceiling_ms is not None]
        if over:
            print(row(f"{title}, {words}: from the hard ceiling's crossing", over, CEILING_BAR_MS))
    over_their_bar(shots)
    known = [shot for shot in shots if shot.bare_ms is not None and not shot.over_ceiling]
    if known:
        ratios = sorted(shot.took_ms / max(shot.bare_ms or 0.0, 0.02) for shot in known)
        behind = sorted(shot.took_ms - (shot.bare_ms or 0.0) for shot in known)
        print(
            f"\n{title}: {percentile(ratios, 0.5):.2f} times the bare limit in the median (bar {RATIO_BAR}), "
            f"{percentile(behind, 0.5):.2f} ms behind it, p99.9 {percentile(behind, 0.999):.2f} ms"
        )


def over_their_bar(shots: list[Shot]) -> None:
    """Print the slowest shorts with their parameters."""
    late = [shot for shot in shots if shot.took_ms > BAR_MS[shot.shape]]
    for shot in sorted(late, key=lambda shot: BAR_MS[shot.shape] - shot.took_ms)[:SHOWN]:
        what = f"{PATHS[shot.path]}, {shot.shape}, {shot.amps} A{', beside a load' if shot.loaded else ''}"
        bare = "" if shot.bare_ms is None else f", bare limit {shot.bare_ms:.2f}"
        print(f"over the bar: {what}, from {shot.phase_deg:.1f} degrees on: {shot.took_ms:.2f} ms{bare}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manual", type=int, default=1000, metavar="N", help="shorts under the manual clock")
    parser.add_argument("--real", type=int, default=60, metavar="N", help="shorts on the real processes")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    args = parser.parse_args()
    print(f"{machine()}, commit {commit()}, seed {args.seed}\n\n{HEAD}")
    if args.manual:
        table("manual clock", manual(args.manual, args.seed))
    if args.real:
        from bench.shorts_real import real  # it starts processes, so the pool's workers must not import it

        table("real time, under load", real(args.real, args.seed + 1))


if __name__ == "__main__":
    main()
