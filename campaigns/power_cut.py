"""Power cuts at any point of a charge, with a disk that loses or tears unsynced data.

The service runs over a fake guard and a database with monitored commits. The power fails at a random statement: before
it, or in the middle of a commit. The disk content is then set as a failing disk may leave it: each sector of the
commit's writes may have been written or not, except that the main file is only written after its log is complete,
because SQLite syncs the log first. Then the next boot opens these files, the phone repeats its request, and the charge
reaches its end. Half of the scenarios have a second cut on the way. Half are paid by an order of a fleet, which sends
it again; then every fact is in the outbox once, and nothing is left of the order's money.

Afterwards the charge is settled exactly once, the ledger balances, the usage log is complete, and the resident pays at
most for the delivered energy, and at least for that minus one checkpoint. A table counts the cuts by point and result.
"""

import asyncio
import contextlib
import functools
import logging
import random
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from cabinet.clock import NS
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.store import backup
from cabinet_testing.fake_guard import Killed
from cabinet_testing.killed_service import CHECKPOINT_S, OrderedCharge, PaidCharge
from cabinet_testing.service_harness import ServiceHarness, Unsynced
from campaigns.runner import Campaign, Outcome, main

SECTOR = 512
CUTS = 10  # scenarios per seed
CHECKPOINT_PAGES = 3  # of the write-ahead log: so few that nearly every commit also writes the main file


class Disk:
    """A disk that cuts the power at a statement of a `life` or within a commit, and keeps the remaining content."""

    def __init__(self, path: Path, life: int, chance: random.Random, ordered: bool) -> None:
        self.path, self.chance = path, chance
        self.in_commit = chance.random() < 0.6
        points = _points_of_a_life(self.in_commit, ordered)
        self.at = chance.randint(1, points // (1 + 2 * life))  # an early second cut
        self.points = 0
        self.dead = False
        self.life = life
        self.what = ""  # description of the cut
        self.left: dict[str, bytes] = {}

    def files(self) -> dict[str, bytes]:
        paths = {ending: self.path.with_name(self.path.name + ending) for ending in ("", "-wal")}
        return {ending: path.read_bytes() for ending, path in paths.items() if path.exists()}

    def point(self, statement: str = "") -> bool:
        """Count a point. Return whether the power is cut here. Raises Killed if it is off already."""
        if self.dead:
            raise Killed
        self.points += statement == "COMMIT" or not self.in_commit
        return self.points == self.at

    def cut(self, left: dict[str, bytes], what: str) -> None:
        self.left, self.dead, self.what = left, True, what
        raise Killed

    @property
    def name(self) -> str:
        """Name of the point: life, kind and number of the statement or commit."""
        return f"{self.life} {'commit' if self.in_commit else 'statement'} {self.at}"

    def connection_class(self) -> type[sqlite3.Connection]:
        disk = self

        class Watched(Unsynced):
            def execute(self, *args: Any) -> sqlite3.Cursor:
                if str(args[0]).startswith("PRAGMA journal_mode"):
                    super().execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
                if str(args[0]).startswith("PRAGMA") or not disk.point(str(args[0])):
                    return super().execute(*args)
                if not disk.in_commit:
                    disk.cut(disk.files(), f"before {shape(str(args[0]))}")
                before = disk.files()
                super().execute(*args)
                disk.cut(*disk.torn(before, disk.files()))
                raise AssertionError("the power is gone")

            def executemany(self, *args: Any) -> sqlite3.Cursor:
                if disk.point():
                    disk.cut(disk.files(), f"before {shape(str(args[0]))}")
                return super().executemany(*args)

        return Watched

    def torn(self, before: dict[str, bytes], after: dict[str, bytes]) -> tuple[dict[str, bytes], str]:
        """Return torn files: part of the log and the old main file, or the whole log and part of the main file."""
        if before.get("", b"") != after.get("", b"") and self.chance.random() < 0.5:
            main = self._mixed(before.get("", b""), after[""])
            return {"": main, "-wal": after.get("-wal", b"")}, "in a checkpoint, torn"
        log = self._mixed(before.get("-wal", b""), after.get("-wal", b""))
        return {"": before.get("", b""), "-wal": log}, "in a commit, torn"

    def _mixed(self, before: bytes, after: bytes) -> bytes:
        """Return a mixture of old and new sectors; if the file grew, its end may be missing."""
        share = self.chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        size = max(len(before), self.chance.randrange(len(after) + 1) if len(after) > len(before) else len(after))
        if share == 1.0:
            size = max(size, len(after))
        mixed = bytearray(before.ljust(size, b"\0")[:size])
        for start in range(0, size, SECTOR):
            if self.chance.random() < share:
                mixed[start : start + SECTOR] = after[start : start + SECTOR].ljust(min(SECTOR, size - start), b"\0")
        return bytes(mixed[:size])

    def put_back(self) -> None:
        """Restore the disk content after the cut; shared memory is lost with the power."""
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        for ending, content in self.left.items():
            self.path.with_name(self.path.name + ending).write_bytes(content)


@functools.cache
def _points_of_a_life(in_commit: bool, ordered: bool) -> int:
    """Return the number of statements, or commits, from opening a database to the end of a charge."""
    with tempfile.TemporaryDirectory() as folder:
        harness = ServiceHarness(Path(folder))
        charge = OrderedCharge(harness) if ordered else PaidCharge(harness)
        whole = Disk.__new__(Disk)
        whole.path, whole.in_commit, whole.at, whole.points, whole.dead = (
            admin.database_path(harness.config), in_commit, -1, 0, False
        )  # fmt: skip
        whole.what, whole.left, whole.life = "", {}, 0
        asyncio.run(_life(harness, whole, charge.to_full))
        return whole.points


def shape(statement: str) -> str:
    """Return verb and table of a statement, without the values."""
    words = statement.replace("(", " ").split()
    verb = words[0].upper()
    before = {"INSERT": "INTO", "UPDATE": "UPDATE", "DELETE": "FROM", "SELECT": "FROM"}.get(verb)
    if before is None or before not in words:
        return verb
    return f"{verb} {words[words.index(before) + 1].strip(',;)')}"


async def _life(harness: ServiceHarness, disk: Disk, work: Any) -> None:
    """Run one boot, until the cut or the end of `work`."""
    harness.connection_class = disk.connection_class()
    service: Service = harness.new_service()
    try:
        with contextlib.suppress(Killed):
            await service.open()
            await harness.guard.connect()
            await service.reconcile()
            await work(service)
    finally:
        was_cut = disk.dead
        disk.dead = True
        await harness.die(service)
        harness.connection_class = Unsynced
        if was_cut:
            disk.put_back()


def _power_back(harness: ServiceHarness, boot: int) -> None:
    harness.guard.restart(new_epoch=True)
    harness.boot = f"boot-{boot}"
    harness.clock.advance_ns(60 * NS)


def _scenario(folder: Path, chance: random.Random, ordered: bool) -> tuple[list[Disk], str, list[str]]:
    """Run one scenario. Return the cuts, the result of the charge, and the problems."""
    for in_commit in (False, True):
        _points_of_a_life(in_commit, ordered)  # before the event loop below: it needs its own loop, once per process
    harness = ServiceHarness(folder)
    charge = OrderedCharge(harness) if ordered else PaidCharge(harness)
    path = admin.database_path(harness.config)
    disks: list[Disk] = []
    wrong: list[str] = []

    async def story() -> None:
        disks.append(first := Disk(path, 0, chance, ordered))
        await _life(harness, first, charge.to_full)
        _power_back(harness, 2)
        if chance.random() < 0.5:
            disks.append(second := Disk(path, 1, chance, ordered))
            await _life(harness, second, charge.afterwards)
            _power_back(harness, 3)
        async with harness.running() as service:
            await charge.afterwards(service)
            wrong.extend(await charge.problems(service))

    asyncio.run(story())
    wrong += _wrong(harness, len(disks))
    return [disk for disk in disks if disk.what], "**not as promised**" if wrong else _fate(harness), wrong


def _fate(harness: ServiceHarness) -> str:
    """Return the result of the charge, one of the correct ones."""
    records = harness.records()
    if not records:
        return "start undone, hold returned"
    whole = sum(record.energy_mwh for record in records) == sum(harness.guard.delivered_uwh.values()) // 1000
    return "settled once, nothing lost" if whole else "settled once, at most a checkpoint lost"


def _wrong(harness: ServiceHarness, boots: int) -> list[str]:
    wrong = backup.problems(admin.database_path(harness.config))
    if wrong:
        return wrong
    with harness.database() as connection:
        rows = connection.execute("SELECT * FROM session WHERE refusal IS NULL").fetchall()
        settled = connection.execute("SELECT count(*) FROM session_transition WHERE to_state = 'settled'").fetchone()[0]
        every = connection.execute("SELECT count(*) FROM session").fetchone()[0]
    records = harness.records()
    if settled != every or any(row["state"] != "settled" for row in rows):
        wrong.append(f"{every} sessions, settled {settled} times: {[row['state'] for row in rows]}")
    if len(records) != len(rows):
        wrong.append(f"{len(rows)} charges, {len(records)} records")
    delivered_mwh = sum(harness.guard.delivered_uwh.values()) // 1000
    counted_mwh = sum(row["energy_mwh"] for row in rows)
    lost_s = (CHECKPOINT_S + 5) * boots
    if not delivered_mwh - lost_s * 100 - boots <= counted_mwh <= delivered_mwh:
        wrong.append(f"delivered {delivered_mwh} mWh, billed {counted_mwh}")
    return wrong


def scenario(seed: int, verbose: bool) -> Outcome:
    chance = random.Random(seed)
    logging.disable(logging.CRITICAL)  # each power cut would log a long traceback
    problems: list[str] = []
    cells: dict[str, dict[str, int]] = {}
    points: list[str] = []
    for number in range(CUTS):
        with tempfile.TemporaryDirectory() as folder:
            disks, fate, wrong = _scenario(Path(folder), chance, ordered=number % 2 == 1)
        for disk in disks:
            row = cells.setdefault(disk.what, {})
            row[fate] = row.get(fate, 0) + 1
            points.append(disk.name)
        what = " and ".join(disk.what for disk in disks)
        if verbose:
            print(f"scenario {number}: {what}: {wrong or fate}", file=sys.stderr)
        problems += [f"scenario {number}, {what}: {each}" for each in wrong]
    logging.disable(logging.NOTSET)
    return Outcome(seed, tuple(problems), len(points), cells=cells, points=tuple(points))


CAMPAIGN = Campaign(
    name="power-cuts",
    module="campaigns.power_cut",
    counted="power cuts",
    scenario=scenario,
    whole=150,
    quick=1,
    promise="settled exactly once, at most a checkpoint lost and never to the resident's cost, chain and ledger whole",
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
