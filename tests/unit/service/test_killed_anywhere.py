"""The service is killed before any one SQL statement and any one command to the guard in the life of a session.

Then it is started again, the phone asks again with the same key, and the charge comes to its end: whatever the point,
the session is settled exactly once, the ledger balances, the usage log is unbroken, and the resident pays for no more
than the guard delivered, and for no less but what one checkpoint may cost.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cabinet.clock import NS
from cabinet.service.app import Service
from cabinet_testing.fake_guard import Killed
from cabinet_testing.killed_service import CHECKPOINT_S, OrderedCharge, PaidCharge
from cabinet_testing.service_harness import ServiceHarness, Unsynced


class Fuse:
    """Counts points at which the service could die, and kills it at one of them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.points = 0
        self.blown = False

    def burn(self) -> None:
        if self.blown:
            raise Killed
        self.points += 1
        if self.points == self.at:
            self.blown = True
            raise Killed

    def connection_class(self) -> type[sqlite3.Connection]:
        fuse = self

        class Mortal(Unsynced):
            def execute(self, *args: Any) -> sqlite3.Cursor:
                if not str(args[0]).startswith("PRAGMA"):
                    fuse.burn()
                return super().execute(*args)

            def executemany(self, *args: Any) -> sqlite3.Cursor:
                fuse.burn()
                return super().executemany(*args)

        return Mortal


async def life(harness: ServiceHarness, fuse: Fuse, work: Callable[[Service], Any]) -> None:
    """One life of the service, up to its death or the end of `work`; nothing is tidied up by the service itself."""
    harness.connection_class = fuse.connection_class()
    harness.guard.before_request = fuse.burn
    service = harness.new_service()
    try:
        with contextlib.suppress(Killed):
            await service.open()
            await harness.guard.connect()
            await service.reconcile()
            await work(service)
    finally:
        fuse.blown = True  # dead: what still runs reaches neither the disk nor the guard
        await harness.die(service)
        harness.connection_class = Unsynced
        harness.guard.before_request = lambda: None


def check(harness: ServiceHarness, point: int, lost_s: int) -> None:
    harness.check_books()
    with harness.database() as connection:
        rows = connection.execute("SELECT * FROM session").fetchall()
    assert [row["state"] for row in rows] == ["settled"], f"point {point}"
    delivered_mwh = sum(harness.guard.delivered_uwh.values()) // 1000
    counted_mwh = sum(row["energy_mwh"] for row in rows)
    assert counted_mwh <= delivered_mwh, f"point {point}"
    assert counted_mwh >= delivered_mwh - lost_s * 100 - 1, f"point {point}"
    records = harness.records()
    assert sum(record.energy_mwh for record in records) == counted_mwh, f"point {point}"
    spent_fen = sum(record.total_fen for record in records)
    assert harness.balance_fen("wallet:1") == 2000 - spent_fen, f"point {point}"
    with harness.database() as connection:
        day_mwh = connection.execute("SELECT coalesce(sum(energy_mwh), 0) FROM outlet_day").fetchone()[0]
    assert day_mwh == counted_mwh, f"point {point}"


def nothing_else(harness: ServiceHarness) -> None:
    """Check that only the service has ended."""


def guard_too(harness: ServiceHarness) -> None:
    """The keeper still has the counters."""
    harness.guard.restart()


def power_cut(harness: ServiceHarness) -> None:
    harness.guard.restart(new_epoch=True)
    harness.boot = "boot-2"
    harness.clock.advance_ns(60 * NS)


DISASTERS = [
    pytest.param(nothing_else, 0, id="the service alone"),
    pytest.param(guard_too, CHECKPOINT_S, id="the guard as well"),
    pytest.param(power_cut, CHECKPOINT_S + 5, id="a power cut, and another boot"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("disaster", "lost_s"), DISASTERS)
def test_killed_at_every_point_of_a_session(
    tmp_path: Path, disaster: Callable[[ServiceHarness], None], lost_s: int
) -> None:
    async def story() -> int:
        point = 0
        while True:
            point += 1
            harness = ServiceHarness(tmp_path / str(point))
            charge, first = PaidCharge(harness), Fuse(point)
            await life(harness, first, charge.to_full)
            if first.points < point:
                return point
            disaster(harness)
            second = Fuse(1 + point * 7 % 23)  # and again, somewhere in what comes after
            await life(harness, second, charge.afterwards)
            async with harness.running() as service:
                await charge.afterwards(service)
            check(harness, point, lost_s)

    assert asyncio.run(story()) > 50, "the session's life has fewer points than it has statements"


@pytest.mark.slow
@pytest.mark.parametrize(("disaster", "lost_s"), DISASTERS)
def test_order_killed_at_every_point_charges_once_and_no_fact_is_lost_or_doubled(
    tmp_path: Path, disaster: Callable[[ServiceHarness], None], lost_s: int
) -> None:
    async def story() -> int:
        point = 0
        while True:
            point += 1
            harness = ServiceHarness(tmp_path / str(point))
            charge, first = OrderedCharge(harness), Fuse(point)
            await life(harness, first, charge.to_full)
            if first.points < point:
                return point
            disaster(harness)
            await life(harness, Fuse(1 + point * 7 % 23), charge.afterwards)
            async with harness.running() as service:
                await charge.afterwards(service)
                assert await charge.problems(service) == [], f"point {point}"
            harness.check_books()
            counted_mwh = sum(record.energy_mwh for record in harness.records())
            delivered_mwh = sum(harness.guard.delivered_uwh.values()) // 1000
            assert delivered_mwh - lost_s * 100 - 1 <= counted_mwh <= delivered_mwh, f"point {point}"

    assert asyncio.run(story()) > 70, "the order's life has fewer points than it has statements"
