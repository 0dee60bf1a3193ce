"""Random shorts on the real processes, with concurrent web requests, a log export and syncs."""

import functools
import math
import multiprocessing
import random
import sqlite3
import sys
import tempfile
import zoneinfo
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import msgspec

from bench.shorts import HARD_A, MAX_A, MIN_A, SHAPES, SHORT_A, Shot, sine_a
from bench.usage import record
from cabinet.config import load
from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import ClearLatch, Role
from cabinet.reports import usage_csv
from cabinet.sim.control import SimControl
from cabinet.system.run_folder import guard_socket, service_address
from cabinet_testing.real_cabinet import Process, RealCabinet, Resident, reaction_ms, running, wait_for

RECORDS = 5_000  # of the log that is exported meanwhile
LOAD_A = 300 / 220  # current of the resistor that is always on
CARD = "90000001"
PAGE = "/s/C5T4"
# An outlet is shorted and cleared twice a minute here; with the defaults the third trip within an hour is latched.
PATIENT = {"[tariff]\n": "[protections.reclose_storm]\ntrips = 20\nwithin_s = 60.0\n\n[tariff]\n"}


def _export(stopping: Event) -> None:
    """Export the usage log as CSV and JSON lines, repeatedly."""
    log = [
        msgspec.structs.replace(record(number, "bench"), number=number, previous_hash="0" * 64, record_hash="1" * 64)
        for number in range(1, RECORDS + 1)
    ]
    while not stopping.is_set():
        "".join(usage_csv.csv_lines(log, "zh", zoneinfo.ZoneInfo("Asia/Shanghai")))
        b"\n".join(map(usage_csv.json_line, log))


def _sync(stopping: Event) -> None:
    """Commit with fsync, as checkpoints do."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder) / "bench.sqlite")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE checkpoint (outlet, energy_mwh)")
        while not stopping.is_set():
            with database:
                database.executemany("INSERT INTO checkpoint VALUES (?, ?)", [(n, n) for n in range(200)])
        database.close()


def _read_pages(url: str, stopping: Event) -> None:
    with httpx.Client(base_url=url) as client:
        while not stopping.is_set():
            client.get(PAGE).raise_for_status()


def real(count: int, seed: int) -> list[Shot]:
    """Run `count` shorts on the real processes. Raises RuntimeError if the concurrent work failed."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), PATIENT, "sim", "guard") as cabinet:
        cabinet.processes["service"] = Process("service", [], cabinet.folder, cabinet.config, "bench.serve_unpaced")
        wait_for("the pages", (service_address(cabinet.run)).exists)
        stopping = multiprocessing.Event()
        work = [
            multiprocessing.Process(target=_export, args=(stopping,), daemon=True),
            multiprocessing.Process(target=_sync, args=(stopping,), daemon=True),
            multiprocessing.Process(target=_read_pages, args=(cabinet.url, stopping), daemon=True),
        ]
        for process in work:
            process.start()
        try:
            shots = _shots(cabinet, "alert", count, seed)
        finally:
            stopping.set()
            for process in work:
                process.join()
        if any(process.exitcode for process in work):
            raise RuntimeError("the work beside the guard failed: the figures would mean nothing")
        return shots


def _shots(cabinet: RealCabinet, path: str, count: int, seed: int) -> list[Shot]:
    """Run the shorts on the outlets in turn, because one outlet would get too hot to start."""
    chance = random.Random(seed)
    resident = cabinet.resident(CARD, balance_yuan="500.00")
    outlets = load(cabinet.config).outlet
    with (
        SimControl(cabinet.run / "sim-control.sock") as sim,
        BlockingGuard(guard_socket(cabinet.run), Role.CONSOLE) as guard,
    ):
        for outlet in outlets:
            sim.plug(outlet.number, "resistor:300")
        shots = []
        for number in range(count):
            outlet = outlets[number % len(outlets)]
            shots.append(_real_shot(sim, guard, resident, outlet.number, outlet.code, chance, path))
            if sys.stderr.isatty() or number % 50 == 49:
                print(f"{path}: {number + 1} of {count}", file=sys.stderr)
        return shots


def _real_shot(
    sim: SimControl, guard: BlockingGuard, resident: Resident, outlet: int, code: str, chance: random.Random, path: str
) -> Shot:
    amps = round(MIN_A * (MAX_A / MIN_A) ** chance.random(), 1)
    shape = chance.choices(list(SHAPES), list(SHAPES.values()))[0]
    started = resident.start(code)
    if started.status_code != 200:
        raise RuntimeError(f"outlet {outlet} did not start: {started.status_code}\n{started.text}")
    wait_for("the contacts", lambda: sim.truth(outlet)["contacts_closed"])
    before = sim.journal()[-1]["seq"]
    sim.fault(outlet, "short", amps=sine_a(amps, shape), shape=shape)
    wait_for("the trip", lambda: guard.snapshot().outlets[outlet - 1].latched)
    wait_for("the contacts", lambda: _kinds(sim, before, outlet) & {"contacts_opened", "welded"})
    journal = sim.journal(before)
    took_ms = reaction_ms(journal, outlet)
    sim.clear(outlet)
    wait_for("the outlet", lambda: _released(guard, outlet))
    wait_for("the page", lambda: "/start" in resident.client.get(f"/s/{code}").text)
    phase_deg = next(r["detail"]["phase_deg"] for r in journal if r["kind"] == "fault_onset")
    bare_ms, ceiling_ms = limits_ms(amps, shape, phase_deg)
    return Shot(path, shape, amps, True, took_ms, phase_deg, bare_ms, ceiling_ms)


def limits_ms(amps: float, shape: str, phase_deg: float) -> tuple[float | None, float | None]:
    """Return the times after the onset at `phase_deg` when the current is a short by its limits, and over the ceiling.

    None: never, or unknown, because the half-cycles of an arc are random.
    """
    if shape == "intermittent":
        return None, None
    peak_a = math.sqrt(2) * (sine_a(amps, shape) + LOAD_A)
    over = functools.partial(_first_above_deg, peak_a, 2 if shape == "half" else 1)
    first_deg = over(SHORT_A, phase_deg)
    assert first_deg is not None  # 25 A RMS are above it
    second_deg = over(SHORT_A, (first_deg // 180 + 1) * 180)
    ceiling_deg = over(HARD_A, phase_deg)
    bare_deg = min(deg for deg in (second_deg, ceiling_deg) if deg is not None)
    return _ms(bare_deg - phase_deg), None if ceiling_deg is None else _ms(ceiling_deg - phase_deg)


def _first_above_deg(peak_a: float, every: int, level_a: float, from_deg: float) -> float | None:
    """Return the first angle from `from_deg` on at which a sine in every `every`-th half-cycle is over the level."""
    if peak_a <= level_a:
        return None
    rise_deg = math.degrees(math.asin(level_a / peak_a))
    half = int(from_deg // 180)
    while True:
        at_deg = max(from_deg, 180 * half + rise_deg)
        if half % every == 0 and at_deg < 180 * (half + 1) - rise_deg:
            return at_deg
        half += 1


def _ms(degrees: float) -> float:
    return degrees / 360 * 20  # at 50 Hz, as in the demo


def _kinds(sim: SimControl, before: int, outlet: int) -> set[str]:
    return {record["kind"] for record in sim.journal(before, outlet)}


def _released(guard: BlockingGuard, outlet: int) -> bool:
    """Clear the latch, also of a relay welded by the short. Return whether the outlet accepts a start."""
    state = guard.snapshot().outlets[outlet - 1]
    if state.latched:
        guard.request(lambda n: ClearLatch(n, outlet, "bench"))
    return state.refusal is None
