"""Random shorts on the real processes, with web requests, a log export and syncs going on beside them."""

import math
import multiprocessing
import random
import tempfile
from pathlib import Path

import httpx

from bench.jitter import export, sync
from bench.shorts import HARD_A, LEAST_A, MOST_A, SHAPES, Shot
from cabinet.config import load
from cabinet.link.client import BlockingGuard
from cabinet.link.protocol import ClearLatch, Role
from cabinet.sim.control import SimControl
from tests.e2e.processes import Resident, reaction_ms, running, wait_for

CARD = "90000001"
PAGE = "/s/C5T4"


def _read_pages(url: str, stopping) -> None:  # type: ignore[no-untyped-def]
    with httpx.Client(base_url=url) as client:
        while not stopping.is_set():
            client.get(PAGE).raise_for_status()


def real(count: int, seed: int) -> list[Shot]:
    """`count` shorts, one outlet after the other. Raises RuntimeError where the work beside the guard failed."""
    chance = random.Random(seed)
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
            raise RuntimeError("the work beside the guard failed: the figures would mean nothing")
        return shots


def _real_shot(
    sim: SimControl, guard: BlockingGuard, resident: Resident, outlet: int, code: str, chance: random.Random
) -> Shot:
    amps = round(LEAST_A * (MOST_A / LEAST_A) ** chance.random(), 1)
    shape = chance.choices(list(SHAPES), list(SHAPES.values()))[0]
    started = resident.start(code)
    if started.status_code != 200:
        raise RuntimeError(f"outlet {outlet} did not start: {started.status_code}\n{started.text}")
    wait_for("the contacts", lambda: sim.truth(outlet)["contacts_closed"])
    before = sim.journal()[-1]["seq"]
    sim.fault(outlet, "short", amps=amps, shape=shape)
    wait_for("the trip", lambda: guard.snapshot().outlets[outlet - 1].latched)
    wait_for("the contacts", lambda: _kinds(sim, before, outlet) & {"contacts_opened", "welded"})
    took_ms = reaction_ms(sim.journal(before), outlet)
    sim.clear(outlet)
    wait_for("the outlet", lambda: _released(guard, outlet))
    wait_for("the page", lambda: "/start" in resident.client.get(f"/s/{code}").text)
    # where the ceiling is passed within the first half-cycles the contactor or relay is told by the alert
    ceiling = shape == "full" and amps * math.sqrt(2) > 1.05 * HARD_A
    return Shot("alert", shape, amps, True, took_ms, None, 0.0 if ceiling else None)


def _kinds(sim: SimControl, before: int, outlet: int) -> set[str]:
    return {record["kind"] for record in sim.journal(before, outlet)}


def _released(guard: BlockingGuard, outlet: int) -> bool:
    """Clears what is latched, a relay included that welded on the short: whether the outlet may be used again."""
    state = guard.snapshot().outlets[outlet - 1]
    if state.latched:
        guard.request(lambda n: ClearLatch(n, outlet, "bench"))
    return state.refusal is None
