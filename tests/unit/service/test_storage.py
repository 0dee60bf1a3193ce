"""A slow disk holds up nobody who only looks; what was asked for comes in order."""

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

from cabinet_testing.service_harness import FULL, ServiceHarness


async def test_pages_are_read_while_a_write_waits_for_the_disk(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k")
        synced, waiting = threading.Event(), threading.Event()

        def slow_sync() -> None:
            waiting.set()
            assert synced.wait(10)

        writing = asyncio.create_task(service.context.storage.write(lambda _: slow_sync()))
        await asyncio.to_thread(waiting.wait)
        async with asyncio.timeout(5):
            assert (await service.charges.outlet("C5T4")).condition == "in_use"
            assert [each.session_id for each in await service.charges.sessions(1)] == [view.session_id]
            assert (await service.property_.figures.today()).sessions == 1
        harness.guard.charge(3, 10)
        harness.guard.show()
        assert (await service.charges.session(1, view.session_id)).charging_s == 10
        assert not writing.done()
        synced.set()
        await writing


async def test_a_flush_asked_for_during_another_writes_what_came_meanwhile(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k")
        await asyncio.gather(*(service.checkpoint() for _ in range(5)), harness.charge(service, 3, 30))
        assert not harness.guard.events.kept
    with harness.database() as connection:
        row = connection.execute("SELECT energy_mwh, state FROM session").fetchone()
        day = connection.execute("SELECT energy_mwh FROM outlet_day").fetchone()
    assert tuple(row) == (harness.guard.delivered_uwh[view.session_id] // 1000, "charging")
    assert day["energy_mwh"] == row["energy_mwh"]


def test_a_checkpoint_of_ten_charges_writes_few_pages(tmp_path: Path) -> None:
    """The SD card pays for each: sessions, today's energy, every twelfth time their curves; no index, no settings."""

    async def story() -> list[int]:
        harness = ServiceHarness(tmp_path, residents=10)
        pages = []
        async with harness.running() as service:
            for number, outlet in enumerate(harness.config.outlet, 1):
                await service.charges.start(number, outlet.code, FULL, f"k{number}")
            (path,) = tmp_path.rglob("cabinet.db")
            with contextlib.closing(sqlite3.connect(path)) as onlooker:
                for _ in range(14):
                    harness.guard.charge_all(10, 150_000)
                    harness.clock.advance_ns(10_000_000_000)
                    harness.guard.show()
                    await service.checkpoint()
                    # How many pages the log holds; they are taken over, so the next write begins it anew.
                    pages.append(onlooker.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
        return pages[1:]

    assert max(asyncio.run(story())) <= 6
