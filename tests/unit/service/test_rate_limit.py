"""Starts are rate-limited: no relay wears out, and no outlet is blocked for the others."""

import contextlib
from pathlib import Path

import pytest

from cabinet.billing import ledger
from cabinet.clock import NS, ManualClock
from cabinet.errors import Refused
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.service.charges import rate_limit, start_stop
from cabinet.service.charges.rate_limit import RateLimiter
from cabinet.store.ledger_books import SqliteBooks
from cabinet_testing.service_harness import FULL, ServiceHarness


async def start_and_stop(harness: ServiceHarness, service: Service, resident_id: int, code: str, key: str) -> str:
    """Return "" or the refusal's code."""
    try:
        view = await service.charges.start(resident_id, code, FULL, key)
    except Refused as refusal:
        return refusal.code
    await harness.stop(service, resident_id, view.session_id)
    return ""


async def test_a_card_starts_ten_times_in_ten_minutes(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        for number in range(start_stop.MAX_STARTS_PER_CARD):
            assert await start_and_stop(harness, service, 1, "C5T4", f"key-{number}") == ""
        assert await start_and_stop(harness, service, 1, "A7K2", "one-more") == "too_many_requests", "at no outlet"
        assert await start_and_stop(harness, service, 2, "A7K2", "another-card") == ""
        harness.clock.advance_ns(start_stop.RATE_WINDOW_S * NS)
        harness.guard.show()
        assert await start_and_stop(harness, service, 1, "C5T4", "later") == ""


async def test_an_outlet_is_started_twenty_times_in_ten_minutes_by_whomever(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        for number in range(start_stop.MAX_STARTS_PER_OUTLET):
            assert await start_and_stop(harness, service, 1 + number % 2, "C5T4", f"key-{number}") == ""
        assert await start_and_stop(harness, service, 3, "C5T4", "one-more") == "too_many_requests"
        assert await start_and_stop(harness, service, 3, "A7K2", "elsewhere") == ""


async def test_what_was_refused_for_another_reason_or_asked_for_twice_does_not_count(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.outlets[1].refusal = "feed_full"
        harness.guard.show()
        for number in range(2 * start_stop.MAX_STARTS_PER_CARD):
            assert await start_and_stop(harness, service, 1, "A7K2", f"full-{number}") == "feed_full"
        view = await service.charges.start(1, "C5T4", FULL, "the-same")
        for _ in range(2 * start_stop.MAX_STARTS_PER_CARD):
            assert (await service.charges.start(1, "C5T4", FULL, "the-same")).session_id == view.session_id
        await harness.stop(service, 1, view.session_id)
        assert await start_and_stop(harness, service, 1, "C5T4", "another") == ""


def test_the_refusal_says_when_it_may_be_done_again() -> None:
    clock = ManualClock()
    often = RateLimiter(clock, 2, 60)
    often.count("a")
    clock.advance_ns(20 * NS)
    often.count("a")
    clock.advance_ns(10 * NS)
    with pytest.raises(Refused) as caught:
        often.check("a")
    assert caught.value.params == {"retry_after_s": 30}
    often.check("b")
    clock.advance_ns(30 * NS)
    often.check("a")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MAX_KEYS", 3)
    often = RateLimiter(ManualClock(), 1, 60)
    for key in range(10):
        often.count(key)
    often.check(0)
    with pytest.raises(Refused):
        often.check(9)


async def test_cards_without_money_block_no_outlet(tmp_path: Path) -> None:
    harness = ServiceHarness(tmp_path, balance_fen=0)
    with contextlib.closing(admin.open_database(harness.config)) as database, database.transaction() as connection:
        ledger.post(SqliteBooks(connection, harness.clock.wall()), ledger.top_up("some", 3, 2000))
    async with harness.running() as service:
        for number in range(2 * start_stop.MAX_STARTS_PER_OUTLET):
            assert await start_and_stop(harness, service, 1 + number % 2, "C5T4", f"poor-{number}") == "no_money"
        assert await start_and_stop(harness, service, 3, "C5T4", "with-money") == ""
