"""The model of the slow computers: each figure with its source, the turns and periods that follow, rows of shorts.

python -m bench.computers [--shorts 1000] > docs/reports/computers.md
"""

import argparse
import random

from bench.scan import cabinet_of
from bench.trip import computers
from cabinet.clock import MS, NS
from cabinet.system.computers import (
    COMPUTERS,
    INSTRUCTIONS_A_TURN,
    MAX_POLLED_TURN_NS,
    MAX_TRANSFER_US,
    period_problems,
    transfers,
    wire_ns,
)
from cabinet_testing.sim_computer import WITH_TRANSFERS
from campaigns.runner import commit, machine

OUTLETS = (10, 20, 40)

HEAD = f"""# The computers, and the guard's time on them

Written by `python -m bench.computers`. Nothing on this page was measured on a Raspberry Pi; `cabinet bench` on the
cabinet does that ([hardware-checklist.md](../hardware-checklist.md), 1.15).

## The model

A turn takes the time of its bits on the wire, plus the kernel's time for each transfer, plus {INSTRUCTIONS_A_TURN:,}
instructions (ten outlets with alert lines and one client, counted by callgrind in user space) at so many nanoseconds
each. Under the manual clock {WITH_TRANSFERS:.0%} of the instructions pass with the transfers of a
scan (443 of 622 us of a turn of the loop over a tape without wire time) and the rest at the end of a turn; half of a
transfer's own time passes before its bits, half after. The wake-up passes between an edge of an alert line and a loop
that sleeps. Figures are the slower end of their range.
"""

SOURCES = (
    (
        "instruction on the bench's machine: 0.49 ns",
        "[scan.md](scan.md): 23 % of turns of 3.06 ms, counted instructions",
    ),
    (
        "Pi 5: up to 1.45 times that; Pi 4 at 1.8 GHz: up to 3.7, at 1.5 GHz: up to 4.4",
        "estimate from published single-core results, to be replaced by `cabinet bench`; a check: N-body in Python, 5 "
        "million steps, takes 158 s on a Pi 4 at 1.5 GHz (chaitanyamehta.github.io, Performance Analysis of Languages "
        "on Raspberry Pi, 2020) and 27 s with Python 3.11 on the bench's machine: 5.8, the older interpreter included",
    ),
    ("600 MHz: 3 times 1.8 GHz", "ratio of the clocks; the same N-body: 401 s at 600 MHz, 2.5 times 1.5 GHz"),
    (
        "kernel's time for a transfer: 30 and 35 us, slower clocks in proportion",
        "assumption: one system call, the interrupts of i2c-bcm2835 or i2c-designware, one wake-up",
    ),
    (
        "wake-up after an edge: 80 and 150 us",
        "assumption: interrupt, thread of the line's library, interpreter lock, `select`",
    ),
    (
        "Pi 4: 1.8 GHz from revision 1.4 on with `arm_boost=1`, else 1.5; at least 600 MHz; core clock 200 to 500 MHz",
        "raspberrypi/documentation, config_txt/overclocking.adoc",
    ),
    (
        "Pi 4: bus at 160 to 200 kHz for 400 kHz with a lowered core clock",
        "raspberrypi/linux issues 3257, 3381, 4884; firmware issue 1256: needs `core_freq` and `core_freq_min`",
    ),
    ("governor `performance` also holds the core clock", "raspberrypi/linux issue 4884, comment of 2022-02-15"),
    (
        "governor at start: `powersave`, then `ondemand` by raspi-config; `ondemand` in kernels since November 2024",
        "raspberrypi/linux issue 5089, pull request 6458",
    ),
)


def speeds() -> None:
    print("| computer | ns an instruction | kernel us a transfer | wake-up us | bus, of configured |")
    print("|---|---|---|---|---|")
    for each in COMPUTERS.values():
        print(
            f"| {each.name} | {each.ns_per_instruction} | {each.kernel_ns / 1000:.0f} | {each.wake_ns / 1000:.0f} "
            f"| {each.bus_share:.0%} |"
        )


def turns() -> None:
    """Print the turn and the shortest period by computer and size of the cabinet, and the refusals of the default."""
    print("\n## Turn and scan period\n")
    configs = {outlets: cabinet_of(outlets) for outlets in OUTLETS}
    print(f"| computer | {' | '.join(f'{n} outlets: turn ms | period ms' for n in OUTLETS)} |")
    print(f"|---|{'---|---|' * len(OUTLETS)}")
    wires = " | ".join(f"{wire_ns(config) / MS:.1f} ({transfers(config)} transfers) | " for config in configs.values())
    print(f"| the wire alone | {wires}|")
    for each in COMPUTERS.values():
        cells = [f"{each.turn_ns(c) / MS:.1f} | {each.period_ns(c) / MS:.1f}" for c in configs.values()]
        print(f"| {each.name} | {' | '.join(cells)} |")
    print(
        f"\nThe period is what `cabinet check` asks for: 5 % over the turn, at most 5 ms; a larger cabinet is scanned "
        f"without a pause.\nPolling alone is admitted up to a turn of {MAX_POLLED_TURN_NS / MS:.1f} ms; "
        f"with alert lines a transfer may take {MAX_TRANSFER_US} us.\n"
    )
    for each in COMPUTERS.values():
        if each.boards:
            problems = [str(problem) for problem in period_problems(configs[10], each)] or ["accepted"]
            print(f"- {each.name} with a period of {configs[10].guard.scan_period_s * NS / MS:.0f} ms: {problems[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shorts", type=int, default=1000, metavar="N", help="for each computer; 0: no rows")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    args = parser.parse_args()
    print(HEAD)
    speeds()
    print("\n| figure | source |\n|---|---|")
    for figure, source in SOURCES:
        print(f"| {figure} | {source} |")
    turns()
    if args.shorts:
        print(f"\n## Shorts\n\n{machine()}, commit {commit()}, `--shorts {args.shorts} --seed {args.seed}`\n")
        computers(args.shorts, args.seed)


if __name__ == "__main__":
    main()
