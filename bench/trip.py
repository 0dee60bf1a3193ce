"""From a fault's current to the relay's command, by the simulator's own clock, over random shorts.

Two parts. Under a manual clock the real guard runs over the simulated chips in one process: thousands of shorts, no
scheduler in the way, next to the bare limit, the earliest moment at which the waveform itself has been over the limit
in two half-cycles (or once over the hard ceiling). In real time the real processes run: guard and simulator, and a
service that is read by web requests, exports and syncs all the while.

    python -m bench.trip [--manual 1000] [--real 60] [--seed N]
"""

import argparse
import logging
import math
import multiprocessing
import random
import tempfile
from pathlib import Path

import httpx
import msgspec

from bench.jitter import export, sync
from cabinet.clock import MS, NS
from cabinet.config import load
from cabinet.link.client import BlockingGuard
from cabinet.link.protocol import ClearLatch, Done, Role
from cabinet.sim.control import SimControl
from tests.desk import Desk, demo_config
from tests.e2e.processes import Resident, reaction_ms, running, wait_for

SHORT_A, HARD_A = 30.0, 150.0
BAR_MS = {"full": 20.0, "half": 35.0, "intermittent": 100.0}
ALERT_BAR_MS = 3.0
CARD = "90000001"
PAGE = "/s/C5T4"
STEP_MS = 0.02  # of the waveform, where its own limits are looked for


class Shot(msgspec.Struct):
    """One short and what came of it."""

    shape: str
    amps: float
    took_ms: float
    bare_ms: float | None  # of full-wave shorts
    ceiling_ms: float | None  # when the waveform went over the hard ceiling, where it did

    @property
    def by_alert(self) -> bool:
        """The waveform goes over the hard ceiling."""
        return self.shape == "full" and self.amps * math.sqrt(2) > HARD_A * 1.05


def ceiling_ms(amps: float, angle: float, half_ms: float) -> float | None:
    """When a full wave that begins at `angle` (radians) first is over the hard ceiling."""
    for step in range(int(2 * half_ms / STEP_MS)):
        if abs(amps * math.sqrt(2) * math.sin(angle + math.pi * step * STEP_MS / half_ms)) > HARD_A:
            return step * STEP_MS
    return None


def bare_limit_ms(amps: float, angle: float, half_ms: float) -> float:
    """Earliest moment after the onset at which two half-cycles, or the hard ceiling once, have been seen.

    `angle` is the mains' at the onset in radians.
    """
    peak_a = amps * math.sqrt(2)
    first_half: int | None = None
    for step in range(int(3 * half_ms / STEP_MS)):
        theta = angle + math.pi * step * STEP_MS / half_ms
        current_a, half = abs(peak_a * math.sin(theta)), math.floor(theta / math.pi)
        if current_a > HARD_A:
            return step * STEP_MS
        if current_a > SHORT_A:
            if first_half is None:
                first_half = half
            elif half != first_half:
                return step * STEP_MS
    raise ValueError(f"a short of {amps} A never is over the limit twice")


def manual(count: int, chance: random.Random) -> list[Shot]:
    """Shorts under the manual clock, with a charge running on the other outlets."""
    with tempfile.TemporaryDirectory() as folder:
        # no heartbeat hardware: between shorts the clock strides until the wire has cooled
        desk = Desk(Path(folder), demo_config({"heartbeat_pin = 27\n": ""}), seed=chance.getrandbits(32))
        for outlet in range(1, 11):
            desk.plug(outlet, chance.choice(["lead-acid-48v20ah", "lithium-48v", "lithium-60v", "resistor:300"]))
        logging.disable(logging.WARNING)  # a thousand trips are what is wanted here
        try:
            return [_shoot(desk, chance) for _ in range(count)]
        finally:
            desk.close()


def _shoot(desk: Desk, chance: random.Random) -> Shot:
    for other in range(1, 11):
        if not desk.outlet(other).closed and not isinstance(desk.start(other), Done):
            raise SystemExit(f"outlet {other} cannot be used: {desk.outlet(other)}")
    desk.run(500 * MS)
    outlet = chance.randint(1, 10)
    shape = chance.choices(["full", "half", "intermittent"], [0.7, 0.2, 0.1])[0]
    amps = round(25 * (400 / 25) ** chance.random(), 1)
    desk.run(chance.randrange(5 * MS, 40 * MS))
    desk.clock.advance_ns(chance.randrange(2 * MS))
    desk.world.sync()
    mains = desk.world.mains
    assert mains is not None
    onset_ns = desk.clock.monotonic_ns()
    angle, half_ms = mains.angle(onset_ns), mains.half_ns / MS
    before = desk.world.journal.last_seq
    desk.world.fault(outlet, "short", amps=amps, shape=shape)
    if not desk.run(2 * NS, until=lambda: desk.unit(outlet).latched):
        raise SystemExit(f"missed: {shape} short of {amps} A on outlet {outlet}")
    journal = desk.world.journal.after(before)
    onset_ns = next(r.at_ns for r in journal if (r.kind, r.outlet) == ("fault_onset", outlet))
    off = {("coil_off", outlet), ("contactor_off", None)}
    took_ms = (next(r.at_ns for r in journal if (r.kind, r.outlet) in off and r.at_ns > onset_ns) - onset_ns) / MS
    desk.world.clear(outlet)
    desk.stride(30 * NS, 10 * NS)
    desk.clear(outlet)
    if shape != "full":
        return Shot(shape, amps, took_ms, None, None)
    return Shot(shape, amps, took_ms, bare_limit_ms(amps, angle, half_ms), ceiling_ms(amps, angle, half_ms))


def _read_pages(url: str, stopping) -> None:  # type: ignore[no-untyped-def]
    with httpx.Client(base_url=url) as client:
        while not stopping.is_set():
            client.get(PAGE).raise_for_status()


def real(count: int, chance: random.Random) -> list[Shot]:
    """Shorts on the real processes, with web requests, an export and syncs going on. Full-wave."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), None, "sim", "guard", "service") as cabinet:
        resident = cabinet.resident(CARD, balance_yuan="500.00")
        stopping = multiprocessing.Event()
        work = [
            multiprocessing.Process(target=export, args=(stopping.is_set,), daemon=True),
            multiprocessing.Process(target=sync, args=(stopping.is_set,), daemon=True),
            multiprocessing.Process(target=_read_pages, args=(cabinet.url, stopping), daemon=True),
        ]
        for process in work:
            process.start()
        shots = []
        with (
            SimControl(cabinet.run / "sim-control.sock") as sim,
            BlockingGuard(cabinet.run / "guard.sock", Role.CONSOLE) as guard,
        ):
            outlets = load(cabinet.config).outlet
            for outlet in outlets:
                sim.plug(outlet.number, "resistor:300")
            for shot in range(count):
                outlet = outlets[shot % len(outlets)]  # in turn, so that none grows too hot to start
                shots.append(_real_shot(sim, guard, resident, outlet.number, outlet.code, chance))
        stopping.set()
        for process in work:
            process.join()
        if any(process.exitcode for process in work):
            raise SystemExit("the work beside the guard failed: the figures would mean nothing")
        return shots


def _real_shot(
    sim: SimControl, guard: BlockingGuard, resident: Resident, outlet: int, code: str, chance: random.Random
) -> Shot:
    amps = round(25 * (400 / 25) ** chance.random(), 1)
    started = resident.start(code)
    if started.status_code != 200:
        raise SystemExit(f"outlet {outlet} did not start: {started.status_code}\n{started.text}")
    wait_for("the contacts", lambda: sim.truth(outlet)["contacts_closed"])
    before = sim.journal()[-1]["seq"]
    sim.fault(outlet, "short", amps=amps)
    wait_for("the trip", lambda: guard.snapshot().outlets[outlet - 1].latched)
    wait_for("the contacts", lambda: _kinds(sim, before, outlet) & {"contacts_opened", "welded"})
    took_ms = reaction_ms(sim.journal(before), outlet)
    sim.clear(outlet)
    wait_for("the outlet", lambda: _released(guard, outlet))
    wait_for("the page", lambda: "/start" in resident.client.get(f"/s/{code}").text)
    return Shot("full", amps, took_ms, None, None)


def _kinds(sim: SimControl, before: int, outlet: int) -> set[str]:
    return {record["kind"] for record in sim.journal(before, outlet)}


def _released(guard: BlockingGuard, outlet: int) -> bool:
    """Clears what is latched, a relay included that welded on the short: whether the outlet may be used again."""
    state = guard.snapshot().outlets[outlet - 1]
    if state.latched:
        guard.request(lambda n: ClearLatch(n, outlet, "bench"))
    return state.refusal is None


def row(name: str, took: list[float], bar_ms: float) -> str:
    ordered = sorted(took)
    points = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.999, 1)]
    over = sum(ms > bar_ms for ms in ordered)
    return f"{name:<34}{len(ordered):>7}" + "".join(f"{ms:>9.2f}" for ms in points) + f"{bar_ms:>8.0f}{over:>7}"


def table(title: str, shots: list[Shot]) -> None:
    print(f"{title:<34}{'shorts':>7}{'p50':>9}{'p99.9':>9}{'worst':>9}{'bar':>8}{'over':>7}   (ms)")
    for shape, bar_ms in BAR_MS.items():
        polled = [shot.took_ms for shot in shots if shot.shape == shape and not shot.by_alert]
        if polled:
            print(row(f"{shape}, polled", polled, bar_ms))
    if alerted := [shot.took_ms for shot in shots if shot.by_alert]:
        print(row("full, over the hard ceiling", alerted, BAR_MS["full"]))
        over = [(s.took_ms, s.ceiling_ms) for s in shots if s.by_alert and s.ceiling_ms is not None]
        reaction = [took - ceiling for took, ceiling in over if took > ceiling]  # else two half-cycles were enough
        if reaction:
            print(row("  after the ceiling was passed", reaction, ALERT_BAR_MS))
    with_bare = [shot for shot in shots if shot.bare_ms is not None]
    if with_bare:
        ratios = sorted(shot.took_ms / max(shot.bare_ms, 0.02) for shot in with_bare if not shot.by_alert)
        print(f"polled, full-wave: median of time over the bare limit of the waveform {ratios[len(ratios) // 2]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manual", type=int, default=1000, metavar="N", help="shorts under the manual clock")
    parser.add_argument("--real", type=int, default=60, metavar="N", help="shorts on the real processes")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    args = parser.parse_args()
    print(f"seed {args.seed}")
    if args.manual:
        table("manual clock", manual(args.manual, random.Random(args.seed)))
    if args.real:
        table("real time, machine under load", real(args.real, random.Random(args.seed + 1)))


if __name__ == "__main__":
    main()
