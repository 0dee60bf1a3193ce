"""A month of the usage log that could not be closed says so, with the reason, wherever people look."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from cabinet.errors import StoreError
from cabinet.link import service_status
from cabinet.model import EndReason
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.service.ports import Unclosed
from cabinet_testing.service_harness import FULL, NOON_MS, ServiceHarness

JUNE_MS = NOON_MS + 10 * 86_400_000


async def one_charge(harness: ServiceHarness, service: Service) -> None:
    """Charge in May; then it is June."""
    await service.charges.start(1, "C5T4", FULL, "key")
    await harness.charge(service, 3, 300)
    harness.guard.end(3, EndReason.FULL)
    await harness.settle(service)


def said(harness: ServiceHarness) -> tuple[str, str] | None:
    """Return the status that the console reads."""
    return service_status.unclosed_month(
        service_status.path_in(Path(harness.config.paths.run)), harness.clock.monotonic_ns()
    )


def told(tmp_path: Path, story) -> None:
    async def whole() -> None:
        harness = ServiceHarness(tmp_path)
        async with harness.running() as service:
            await story(harness, service)

    asyncio.run(whole())


def test_month_without_a_synchronised_clock_says_so_until_it_is_closed(tmp_path, caplog) -> None:
    async def story(harness: ServiceHarness, service: Service) -> None:
        await one_charge(harness, service)
        harness.clock.set_wall(JUNE_MS, trusted=False)
        for _ in range(3):
            await service.housekeeping.close_month()
        unclosed = [service.context.unclosed]
        service.housekeeping.publish_status()
        assert said(harness) == ("2026-05", "clock")
        assert caplog.text.count("usage log: 2026-05 is not closed: the clock is not synchronised") == 1
        harness.clock.set_wall(JUNE_MS, trusted=True)
        await service.housekeeping.close_month()
        service.housekeeping.publish_status()
        unclosed.append(service.context.unclosed)
        assert unclosed == [Unclosed("2026-05", "clock"), None]
        assert said(harness) is None

    told(tmp_path, story)


def test_month_without_its_key_says_so(tmp_path, caplog) -> None:
    async def story(harness: ServiceHarness, service: Service) -> None:
        await one_charge(harness, service)
        harness.clock.set_wall(JUNE_MS, trusted=True)
        key = admin.key_path(harness.config)
        key.parent.mkdir(exist_ok=True)
        key.write_bytes(b"no key")
        with pytest.raises(StoreError):
            await service.housekeeping.close_month()
        assert service.context.unclosed == Unclosed("2026-05", "key")
        assert "2026-05 is not closed: the key that signs it cannot be read" in caplog.text

    told(tmp_path, story)


def test_month_that_the_disk_does_not_take_says_so(tmp_path, monkeypatch, caplog) -> None:
    async def story(harness: ServiceHarness, service: Service) -> None:
        await one_charge(harness, service)
        harness.clock.set_wall(JUNE_MS, trusted=True)

        def full(*_):
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as disk:
            disk.setattr("cabinet.service.housekeeping.month_closing.close", full)
            with pytest.raises(StoreError):
                await service.housekeeping.close_month()
        assert service.context.unclosed == Unclosed("2026-05", "storage")
        await service.housekeeping.close_month()
        assert service.context.unclosed is None

    told(tmp_path, story)


def test_month_without_any_record_is_not_asked_for(tmp_path) -> None:
    async def story(harness: ServiceHarness, service: Service) -> None:
        harness.clock.set_wall(JUNE_MS, trusted=False)
        await service.housekeeping.close_month()
        assert service.context.unclosed is None

    told(tmp_path, story)
