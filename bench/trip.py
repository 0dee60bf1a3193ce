"""Time from the fault current to the command of relay or contactor, by the simulator's clock, over random shorts.

There are two parts. Under a manual clock the real guard runs over the simulated chips in one process, with and
without alert lines: thousands of shorts without scheduler effects, compared with the bare limit, the earliest time at
which the waveform has exceeded the limit in two half-cycles (or once the hard ceiling). In real time the real processes
run: guard and simulator, and a service with concurrent web requests, exports and syncs. Amperes are RMS of the actual
current: a half wave of 25 A is half of a sine of 35 A.

With `--computer` a slower computer's own time is added under the manual clock; `--computers` prints one row for each of
them (docs/reports/computers.md).

    python -m bench.trip [--manual 1000] [--real 60] [--seed N]
    python -m bench.trip --manual 10000 --computer pi4 [--outlets 40]
    python -m bench.trip --computers [--manual 1000]
"""

import argparse
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from bench.shorts import SHOTS, Shot, batch
from cabinet.clock import MS
from cabinet.system.computers import COMPUTERS, HERE, wire_ns
from cabinet_testing.sim_cabinet import OUTLETS, demo_config
from campaigns.runner import commit, machine, percentile

BAR_MS = {"full": 20.0, "half": 35.0, "intermittent": 100.0}
HALF_BAR_OF_COMPUTER_MS = 36.0  # a turn of a Pi 4 is longer than one with nothing but the wire
CEILING_BAR_MS = 3.0
RATIO_BAR = 1.2
SHOWN = 5  # number of shorts over the limit in the output
HEAD = "| shorts | count | p50 ms | p99.9 ms | worst ms | bar ms | over the bar |\n|---|---|---|---|---|---|---|"


PATHS = {"alert": "with alert lines", "polled": "polled only"}


def manual(count: int, seed: int, computer: str = HERE, outlets: int = OUTLETS) -> list[Shot]:
    """Run shorts on all cores, half with alert lines, half polled only."""
    chance = random.Random(seed)
    seeds = [chance.getrandbits(40) for _ in range(max(1, count // (2 * SHOTS)))]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        shots: list[Shot] = []
        for path in ("alert", "polled"):
            for done in pool.map(partial(batch, path=path, computer=computer, outlets=outlets), seeds):
                shots += done
        return shots


def bars_ms(computer: str) -> dict[str, float]:
    """Return the bars by shape."""
    return BAR_MS if computer == HERE else {**BAR_MS, "half": HALF_BAR_OF_COMPUTER_MS}


def row(name: str, took: list[float], bar_ms: float) -> str:
    ordered = sorted(took)
    points = " | ".join(f"{percentile(ordered, share):.2f}" for share in (0.5, 0.999, 1.0))
    return f"| {name} | {len(ordered)} | {points} | {bar_ms:.0f} | {sum(ms > bar_ms for ms in ordered)} |"


def table(title: str, shots: list[Shot], computer: str = HERE) -> None:
    """Print the rows of one part, and the ratio to the bare limit if it is known."""
    for path, words in PATHS.items():
        mine = [shot for shot in shots if shot.path == path]
        for shape, bar_ms in bars_ms(computer).items():
            took = [shot.took_ms for shot in mine if shot.shape == shape and not shot.over_ceiling]
            if took:
                print(row(f"{title}, {words}: {shape}", took, bar_ms))
        over = [shot.took_ms - shot.ceiling_ms for shot in mine if shot.ceiling_ms is not None]
        if over:
            print(row(f"{title}, {words}: from the hard ceiling's crossing", over, CEILING_BAR_MS))
    over_their_bar(shots, bars_ms(computer))
    known = [shot for shot in shots if shot.bare_ms is not None and not shot.over_ceiling]
    if known:
        ratios = sorted(shot.took_ms / max(shot.bare_ms or 0.0, 0.02) for shot in known)
        behind = sorted(shot.took_ms - (shot.bare_ms or 0.0) for shot in known)
        print(
            f"\n{title}: {percentile(ratios, 0.5):.2f} times the bare limit in the median (bar {RATIO_BAR}), "
            f"{percentile(behind, 0.5):.2f} ms behind it, p99.9 {percentile(behind, 0.999):.2f} ms"
        )


def over_their_bar(shots: list[Shot], bars: dict[str, float]) -> None:
    """Print the slowest shorts with their parameters."""
    late = [shot for shot in shots if shot.took_ms > bars[shot.shape]]
    for shot in sorted(late, key=lambda shot: bars[shot.shape] - shot.took_ms)[:SHOWN]:
        what = f"{PATHS[shot.path]}, {shot.shape}, {shot.amps} A{', beside a load' if shot.loaded else ''}"
        bare = "" if shot.bare_ms is None else f", bare limit {shot.bare_ms:.2f}"
        print(f"over the bar: {what}, from {shot.phase_deg:.1f} degrees on: {shot.took_ms:.2f} ms{bare}")


def computer_row(name: str, shots: list[Shot]) -> str:
    """Return the row of one computer: its turn; by path the worst of a wave, and p99.9 from the ceiling's crossing."""
    turn_ms = (wire_ns(demo_config()) if name == HERE else COMPUTERS[name].turn_ns(demo_config())) / MS
    cells = []
    for path in PATHS:
        mine = [shot for shot in shots if shot.path == path]
        for shape in ("full", "half"):
            took = [shot.took_ms for shot in mine if shot.shape == shape and not shot.over_ceiling]
            late = sum(ms > bars_ms(name)[shape] for ms in took)
            cells.append(f"{max(took, default=0):.1f}{f' ({late} of {len(took)} over)' if late else ''}")
        over = sorted(shot.took_ms - shot.ceiling_ms for shot in mine if shot.ceiling_ms is not None)
        cells.append(f"{percentile(over, 0.999):.2f}" if over else "none")
    title = COMPUTERS[name].name if name in COMPUTERS else "the bench: no own time"
    return f"| {title} | {turn_ms:.1f} | {' | '.join(cells)} |"


def computers(count: int, seed: int) -> None:
    """Print the table of all computers, each with the same shorts."""
    print("| computer | turn ms | alert lines: full | half | ceiling p99.9 | polled: full | half | ceiling p99.9 |")
    print("|---|---|---|---|---|---|---|---|")
    for name in (HERE, *COMPUTERS):
        print(computer_row(name, manual(count, seed, name)), flush=True)
    print(
        f"\nworst in ms; bars: full wave {BAR_MS['full']:.0f}, half {HALF_BAR_OF_COMPUTER_MS:.0f} "
        f"(bench: {BAR_MS['half']:.0f}), ceiling {CEILING_BAR_MS:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manual", type=int, default=1000, metavar="N", help="shorts under the manual clock")
    parser.add_argument("--real", type=int, default=60, metavar="N", help="shorts on the real processes")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--computer", choices=(HERE, *COMPUTERS), default=HERE, help="under the manual clock only")
    parser.add_argument("--outlets", type=int, default=OUTLETS, help="of the cabinet under the manual clock")
    parser.add_argument("--computers", action="store_true", help="a row for each computer, manual clock only")
    args = parser.parse_args()
    print(f"{machine()}, commit {commit()}, seed {args.seed}\n")
    if args.computers:
        computers(args.manual, args.seed)
        return
    print(HEAD)
    if args.manual:
        title = "manual clock" if args.computer == HERE else f"manual clock, {args.computer}"
        title += "" if args.outlets == OUTLETS else f", {args.outlets} outlets"
        table(title, manual(args.manual, args.seed, args.computer, args.outlets), args.computer)
    if args.real and args.computer == HERE and args.outlets == OUTLETS:
        from bench.shorts_real import real  # it starts processes, so the pool's workers must not import it

        table("real time, under load", real(args.real, args.seed + 1))


if __name__ == "__main__":
    main()
