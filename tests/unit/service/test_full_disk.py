"""A disk that takes no more, by SQLite's own page limit: nothing half-done, nothing lost, and on again with room."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cabinet.clock import NS
from cabinet.errors import Refused, StorageFull
from cabinet.link import service_status
from cabinet.link.guard_protocol import Energise
from cabinet.model import ChargeLimits, EndReason
from cabinet.service.app import Service
from cabinet_testing.service_harness import CARDS, FULL, ServiceHarness, Unsynced


async def fill_up(service: Service) -> None:
    """The database may not grow by a page, and its last page is full."""
    await service.context.storage.write(
        lambda c: c.execute("CREATE TABLE ballast (filler TEXT)") and c.execute("INSERT INTO ballast VALUES ('x')")
    )
    await service.context.storage.write(
        lambda c: c.execute(f"PRAGMA max_page_count = {c.execute('PRAGMA page_count').fetchone()[0]}")
    )


async def make_room(service: Service) -> None:
    await service.context.storage.write(lambda c: c.execute("PRAGMA max_page_count = 1000000"))


async def checkpoints_until_full(harness: ServiceHarness, service: Service) -> None:
    while not service.context.storage.full:
        harness.guard.charge_all(10)
        harness.guard.show()
        await service.checkpoint()


async def test_running_sessions_are_metered_in_memory_and_settled_when_there_is_room(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        first = await service.charges.start(1, "C5T4", FULL, "k1")
        second = await service.charges.start(2, "A7K2", FULL, "k2")
        await fill_up(service)
        await checkpoints_until_full(harness, service)
        assert service.charges.accepting() == "storage_full"
        harness.guard.charge_all(100)
        await harness.settle(service)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        waiting = await service.charges.session(1, first.session_id)
        assert (waiting.state, waiting.end_reason) == ("finished", EndReason.FULL)
        assert harness.guard.events.kept, "what is not written is not acknowledged"
        harness.guard.charge_all(50)
        await harness.settle(service)
        live = await service.charges.session(2, second.session_id)
        assert live.state == "charging"
        with pytest.raises(Refused, match="storage_full"):
            await service.charges.start(3, "K8V4", FULL, "k3")

        await make_room(service)
        await service.checkpoint()
        assert service.charges.accepting() is None
        receipt = await service.charges.session(1, first.session_id)
        assert (receipt.state, receipt.energy_mwh) == ("settled", waiting.energy_mwh)
        assert not harness.guard.events.kept
        harness.guard.end(1, EndReason.FULL)
        await harness.settle(service)
    delivered_mwh = {session: uwh // 1000 for session, uwh in harness.guard.delivered_uwh.items()}
    assert {record.session_id: record.energy_mwh for record in harness.records()} == delivered_mwh
    assert harness.steps(first.session_id) == ["authorised", "waiting_for_load", "charging", "finished", "settled"]
    with harness.database() as connection:
        rows = connection.execute("SELECT outlet, energy_mwh FROM outlet_day ORDER BY outlet").fetchall()
    assert [tuple(row) for row in rows] == [
        (1, delivered_mwh[second.session_id]),
        (3, delivered_mwh[first.session_id]),
    ]
    harness.check_books()


async def test_an_outlet_that_still_charges_for_a_session_that_ended_here_is_opened(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k1")
        await fill_up(service)
        await checkpoints_until_full(harness, service)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        assert (await service.charges.session(1, view.session_id)).state == "finished"
        harness.guard.restart()  # the new one knows nothing of the end
        await harness.guard.connect()
        harness.guard.handle(Energise(9, 3, view.session_id, ChargeLimits()))
        await harness.settle(service)
        assert harness.guard.outlets[3].session_id is None
        await make_room(service)
        await service.checkpoint()
    assert [record.session_id for record in harness.records()] == [view.session_id]
    harness.check_books()


async def test_a_service_that_is_killed_while_the_disk_is_full_loses_no_event(harness: ServiceHarness) -> None:
    service = await harness.open()
    view = await service.charges.start(1, "C5T4", FULL, "k1")
    await harness.charge(service, 3, 60)
    await fill_up(service)
    await checkpoints_until_full(harness, service)
    harness.guard.end(3, EndReason.UNPLUGGED)
    await harness.settle(service)
    await harness.die(service)
    async with harness.running() as service:
        receipt = await service.charges.session(1, view.session_id)
    assert (receipt.state, receipt.end_reason) == ("settled", EndReason.UNPLUGGED)
    assert receipt.energy_mwh == harness.guard.delivered_uwh[view.session_id] // 1000
    harness.check_books()


async def start_and_end_many(harness: ServiceHarness, service: Service) -> None:
    for number in range(200):
        await service.charges.start(number % 3 + 1, "C5T4", FULL, f"k{number}")
        harness.guard.end(3, EndReason.NO_LOAD)
        await harness.settle(service)


async def test_a_start_that_meets_a_full_disk_did_nothing(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        await fill_up(service)
        with pytest.raises(Refused, match="storage_full"):
            await start_and_end_many(harness, service)
        await make_room(service)
        await service.checkpoint()
        with pytest.raises(Refused, match="wrong_card_or_pin"):
            await service.accounts.sign_in(CARDS[0], "0000", "here")
    harness.check_books()
    with harness.database() as connection:
        assert connection.execute("SELECT count(*) FROM session WHERE state != 'settled'").fetchone()[0] == 0


async def test_a_disk_short_of_room_starts_nothing_new(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        service.context.storage.short = True
        assert service.charges.accepting() == "storage_full"
        assert (await service.charges.outlet("C5T4")).refusal == "storage_full"
        await service.checkpoint()  # measures anew
        assert service.charges.accepting() is None


def standing(harness: ServiceHarness) -> str | None:
    """Return the reason that the console reads."""
    return service_status.start_refusal(
        service_status.path_in(Path(harness.config.paths.run)), harness.clock.monotonic_ns()
    )


def refusing(code: int, message: str) -> type[sqlite3.Connection]:
    """A disk that takes no write, for as long as `stands` is True."""

    class Refusing(Unsynced):
        stands = True

        def execute(self, *args: Any) -> sqlite3.Cursor:
            if Refusing.stands and not str(args[0]).startswith(("SELECT", "ROLLBACK", "PRAGMA busy", "PRAGMA foreign")):
                error = sqlite3.OperationalError(message)
                error.sqlite_errorcode = code
                raise error
            return super().execute(*args)

    return Refusing


DISKS = [
    pytest.param(sqlite3.SQLITE_READONLY, "attempt to write a readonly database", id="read-only"),
    pytest.param(sqlite3.SQLITE_FULL, "database or disk is full", id="full"),
]


@pytest.mark.parametrize(("code", "message"), DISKS)
async def test_service_that_starts_on_a_disk_without_room_says_so_and_begins_anew_with_room(
    harness: ServiceHarness, code: int, message: str
) -> None:
    Path(harness.config.paths.run).mkdir(parents=True)
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k1")
        await harness.charge(service, 3, 60)
    assert standing(harness) == service_status.GONE
    harness.connection_class = refusing(code, message)
    async with harness.running() as service:
        assert service.charges.accepting() == "storage_full"
        assert (await service.charges.outlet("A7K2")).refusal == "storage_full"
        assert standing(harness) == "storage_full"
        for what in (
            service.charges.start(2, "A7K2", FULL, "k2"),
            service.accounts.resident("token"),
            service.charges.sessions(1),
        ):
            with pytest.raises((Refused, StorageFull)):
                await what
        harness.guard.charge_all(30)
        harness.guard.end(3, EndReason.FULL)
        await harness.guard.tell()
        harness.clock.advance_ns(NS)
        harness.guard.show()
        await service.checkpoint()
        assert harness.guard.events.kept, "what is not written is not acknowledged"
        assert service.housekeeping.restart_wanted.is_set(), "another connection finds the file as it should be"
    harness.connection_class = Unsynced
    async with harness.running() as service:
        receipt = await service.charges.session(1, view.session_id)
        assert (receipt.state, receipt.end_reason) == ("settled", EndReason.FULL)
        assert receipt.energy_mwh == sum(harness.guard.delivered_uwh.values()) // 1000
        assert standing(harness) is None
    harness.check_books()


@pytest.mark.parametrize(("code", "message"), DISKS)
async def test_disk_that_takes_no_more_while_charging_is_said_and_the_charge_is_settled_later(
    harness: ServiceHarness, code: int, message: str
) -> None:
    Path(harness.config.paths.run).mkdir(parents=True)
    harness.connection_class = refusing(code, message)
    harness.connection_class.stands = False  # type: ignore[attr-defined]
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k1")
        harness.connection_class.stands = True  # type: ignore[attr-defined]
        await harness.charge(service, 3, 60)
        assert service.charges.accepting() == standing(harness) == "storage_full"
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        assert (await service.charges.session(1, view.session_id)).state == "finished"
        with pytest.raises(Refused, match="storage_full"):
            await service.charges.start(2, "A7K2", FULL, "k2")
        harness.connection_class.stands = False  # type: ignore[attr-defined]
        await service.checkpoint()
        assert (await service.charges.session(1, view.session_id)).state == "settled"
        assert standing(harness) is None
    harness.check_books()
