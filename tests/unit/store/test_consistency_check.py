"""Sessions, usage log and ledger against each other: what each of them alone would not notice."""

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from cabinet.model import EndReason
from cabinet.service.accounts import admin
from cabinet.store import backup
from cabinet_testing.fleet_harness import FleetHarness
from cabinet_testing.service_harness import FULL, ServiceHarness


@pytest.fixture(scope="module")
def charged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two charges, paid."""
    harness = ServiceHarness(tmp_path_factory.mktemp("charged"))

    async def story() -> None:
        async with harness.running() as service:
            for resident, (outlet, code) in enumerate(((3, "C5T4"), (1, "A7K2")), 1):
                await service.charges.start(resident, code, FULL, f"k{outlet}")
                await harness.charge(service, outlet, 3600)
                harness.guard.end(outlet, EndReason.FULL)
                await harness.settle(service)

    asyncio.run(story())
    return admin.database_path(harness.config)


@pytest.fixture
def path(charged: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    return Path(shutil.copytree(charged.parent, tmp_path / "state")) / charged.name


def tamper(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    connection.executescript(script)
    connection.close()


def test_they_agree_on_charges_as_they_are(path: Path) -> None:
    assert backup.problems(path) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "DELETE FROM usage_record WHERE number = 2;"
            "UPDATE usage_head SET number = 1, record_hash = (SELECT record_hash FROM usage_record WHERE number = 1)",
            ["order DEMO-1-00000002 was settled, and the usage log has no record of it"],
        ),
        (
            "DELETE FROM usage_record; DELETE FROM usage_head",
            [
                "order DEMO-1-00000001 was settled, and the usage log has no record of it",
                "order DEMO-1-00000002 was settled, and the usage log has no record of it",
            ],
        ),
        (
            "UPDATE session SET cost_fen = cost_fen - 1, refund_fen = refund_fen + 1 WHERE number = 2",
            [
                "order DEMO-1-00000002: 31 fen on the receipt, 32 in the usage log",
                "order DEMO-1-00000002: 31 fen on the receipt, 32 in the ledger",
            ],
        ),
    ],
    ids=["the log's last record cut off, its head too", "the whole log emptied", "a receipt"],
)  # fmt: skip
def test_what_was_done_to_one_of_them_shows_in_the_others(path: Path, script: str, said: list[str]) -> None:
    tamper(path, script)
    assert backup.problems(path)[-len(said) :] == said


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two charges by orders of a fleet, paid, and one fact acknowledged."""
    harness = ServiceHarness(tmp_path_factory.mktemp("ordered"))
    fleet = FleetHarness(harness)

    async def story() -> None:
        async with harness.running() as service:
            for outlet in (3, 4):
                order = await fleet.order(service, outlet=outlet)
                await fleet.send(service, order)
                await harness.charge(service, outlet, 3600)
                harness.guard.end(outlet, EndReason.FULL)
                await harness.settle(service)
            await fleet.hand_over(service, fleet.ack(order.epoch, 1))

    asyncio.run(story())
    return admin.database_path(harness.config)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("SELECT 1", []),
        ("DELETE FROM outbox WHERE number = 1", []),  # acknowledged
        ("DELETE FROM outbox WHERE number = 2", ["the outbox has 3 of the facts 1 to 4, of 4 written"]),
        ("DELETE FROM outbox WHERE number = 4", ["the outbox has 3 of the facts 1 to 3, of 4 written"]),
        ("DELETE FROM outbox WHERE number < 3", ["the outbox has 2 of the facts 3 to 4, of 4 written"]),
        ("DELETE FROM outbox", ["the outbox is empty, and 3 facts were never acknowledged"]),
        (
            "UPDATE outbox SET body = '{}', usage_number = NULL WHERE number = 4",
            ["1 usage records are in no fact of the outbox"],
        ),
        (
            "UPDATE account SET balance_fen = balance_fen + 5 WHERE name LIKE 'order:%1'",
            ["order:F0000001: 5 fen are left to an order of the fleet"],
        ),
    ],
)
def test_a_fact_that_is_missing_shows(ordered: Path, tmp_path: Path, script: str, said: list[str]) -> None:
    path = Path(shutil.copytree(ordered.parent, tmp_path / "state")) / ordered.name
    tamper(path, script)
    found = backup.problems(path)
    assert [problem for problem in found if problem in said] == said
    assert said or not found
