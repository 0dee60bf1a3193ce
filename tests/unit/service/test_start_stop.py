"""Starts: refused with nothing done, asked for twice, asked for at once, given up in the middle."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.errors import Refused
from cabinet.link.guard_protocol import Energise, Open
from cabinet.model import EndReason, Fault
from cabinet.service.accounts import admin
from cabinet.service.ports import StartChoice
from cabinet_testing.service_harness import CARDS, FULL, ServiceHarness, refusal


def block(harness: ServiceHarness) -> None:
    with harness.administering() as database:
        admin.block_resident(database, CARDS[0], True)


def nothing(harness: ServiceHarness) -> None: ...


def latch(harness: ServiceHarness) -> None:
    harness.guard.trip(3, Fault.SHORT_CIRCUIT)


def warm_up(harness: ServiceHarness) -> None:
    harness.guard.outlets[3].refusal = "outlet_hot"


def let_snapshots_age(harness: ServiceHarness) -> None:
    harness.clock.advance_ns(4 * NS)


@pytest.mark.parametrize(
    ("prepare", "code", "choice", "key", "refused"),
    [
        (nothing, "ZZZZ", FULL, "k", "unknown_code"),
        (nothing, "C5T4", StartChoice("hours"), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("hours", seconds=1801), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("hours", seconds=0), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("hours", seconds=37_800), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("hours", seconds=3600, amount_fen=100), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("amount", amount_fen=99), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("amount", amount_fen=5001), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("amount"), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("full", seconds=1800), "k", "bad_choice"),
        (nothing, "C5T4", StartChoice("amount", amount_fen=3000), "k", "no_money"),
        (nothing, "C5T4", FULL, "", "bad_request"),
        (nothing, "C5T4", FULL, "k" * 101, "bad_request"),
        (block, "C5T4", FULL, "k", "card_blocked"),
        (latch, "C5T4", FULL, "k", "fault_latched"),
        (warm_up, "C5T4", FULL, "k", "outlet_hot"),
    ],
)
async def test_a_refused_start_does_nothing(
    harness: ServiceHarness,
    prepare: Callable[[ServiceHarness], None],
    code: str,
    choice: StartChoice,
    key: str,
    refused: str,
) -> None:
    prepare(harness)
    async with harness.running() as service:
        found = await refusal(service.charges.start(1, code, choice, key))
        assert found.code == refused
        assert (await service.charges.outlet("C5T4")).condition in ("free", "needs_service")
    assert harness.guard.commands == []
    assert harness.balance_fen("wallet:1") == 2000
    with harness.database() as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone()[0] == 0


async def test_too_little_money_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    harness = ServiceHarness(tmp_path, balance_fen=99)
    async with harness.running() as service:
        found = await refusal(service.charges.start(1, "C5T4", FULL, "k"))
    assert (found.code, found.params) == ("no_money", {"balance_fen": 99, "needed_fen": 100})


@pytest.mark.parametrize(
    ("balance_fen", "choice", "held_fen"),
    [
        pytest.param(2000, FULL, 500, id="full: what the configuration says"),
        pytest.param(300, FULL, 300, id="full: the wallet, where it has less"),
        pytest.param(2000, StartChoice("hours", seconds=7200), 290, id="hours: their cost at the outlet's most power"),
        pytest.param(200, StartChoice("hours", seconds=7200), 200, id="hours: the wallet, where it has less"),
        pytest.param(2000, StartChoice("amount", amount_fen=700), 700, id="amount: as said"),
    ],
)
async def test_what_is_held(tmp_path: Path, balance_fen: int, choice: StartChoice, held_fen: int) -> None:
    harness = ServiceHarness(tmp_path, balance_fen=balance_fen)
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", choice, "k")
        token = await service.accounts.sign_in(CARDS[0], "4711", "here")
        resident = await service.accounts.resident(token)
    assert view.held_fen == held_fen
    assert (resident.balance_fen, resident.held_fen) == (balance_fen - held_fen, held_fen)


async def test_the_same_request_twice_is_one_session(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        first = await service.charges.start(1, "C5T4", FULL, "k")
        again = await service.charges.start(1, "C5T4", FULL, "k")
        assert again.session_id == first.session_id
        await harness.charge(service, 3, 20)
        harness.guard.end(3, EndReason.FULL)
        await harness.settle(service)
        after = await service.charges.start(1, "C5T4", FULL, "k")
        assert (after.session_id, after.state) == (first.session_id, "settled")
    assert [type(command) for command in harness.guard.commands].count(Energise) == 1 + 2  # and two renewals of limits
    harness.check_books()


async def test_the_same_request_at_once_is_one_session(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        views = await asyncio.gather(*(service.charges.start(1, "C5T4", FULL, "k") for _ in range(5)))
    assert len({view.session_id for view in views}) == 1
    assert harness.balance_fen("wallet:1") == 1500
    assert len(harness.guard.commands) == 1


async def test_of_two_residents_at_once_one_gets_the_outlet(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        answers = await asyncio.gather(
            service.charges.start(1, "C5T4", FULL, "k"),
            service.charges.start(2, "C5T4", FULL, "k"),
            return_exceptions=True,
        )
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert [answer.code for answer in refused] == ["outlet_busy"]
    assert harness.balance_fen("wallet:1") + harness.balance_fen("wallet:2") == 3500
    assert len(harness.guard.commands) == 1


async def test_one_resident_gets_one_outlet_at_a_time(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        answers = await asyncio.gather(
            service.charges.start(1, "C5T4", FULL, "k1"),
            service.charges.start(1, "A7K2", FULL, "k2"),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert [answer.code for answer in refused] == ["already_charging"]
        assert (await refusal(service.charges.start(1, "K8V4", FULL, "k3"))).code == "already_charging"
        assert (await refusal(service.charges.start(2, "C5T4", FULL, "k4"))).code == "outlet_busy"
    assert harness.balance_fen("wallet:1") == 1500


async def test_what_the_guard_refuses_comes_to_nothing_and_says_so_again(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.refuse[Energise] = ["voltage_out_of_band"]
        for _ in range(2):
            assert (await refusal(service.charges.start(1, "C5T4", FULL, "k"))).code == "voltage_out_of_band"
        assert (await service.charges.outlet("C5T4")).condition == "free"
        assert await service.charges.sessions(1) == []
        view = await service.charges.start(1, "C5T4", FULL, "k2")
        assert view.state == "waiting_for_load"
    assert harness.records() == []
    assert harness.balance_fen("wallet:1") == 1500
    with harness.database() as connection:
        rows = connection.execute("SELECT state, refusal, cost_fen FROM session ORDER BY number").fetchall()
    assert [tuple(row) for row in rows] == [
        ("settled", "voltage_out_of_band", 0),
        ("waiting_for_load", None, None),
    ]
    harness.check_books()


@pytest.mark.parametrize("closed", [True, False], ids=["it had closed", "it had not"])
async def test_a_start_the_guard_does_not_answer_is_called_off_and_costs_nothing(
    harness: ServiceHarness, closed: bool
) -> None:
    async with harness.running() as service:
        harness.guard.deaf = closed
        if not closed:
            harness.guard.refuse[Energise] = ["guard_unreachable"]
        assert (await refusal(service.charges.start(1, "C5T4", FULL, "k"))).code == "guard_unreachable"
        assert harness.balance_fen("wallet:1") == 1500
        harness.guard.deaf = False
        harness.clock.advance_ns(2 * NS)
        harness.guard.charge(3, 5)
        await harness.settle(service)
        assert harness.guard.outlets[3].session_id is None
        assert (await service.charges.outlet("C5T4")).condition == "free"
    assert [type(command) for command in harness.guard.commands] == [Energise, Open][: 1 + closed]
    assert harness.balance_fen("wallet:1") == 2000
    assert [record.total_fen for record in harness.records()] == [0] * closed
    harness.check_books()


async def test_a_browser_that_goes_away_while_money_is_held_leaves_a_whole_session(
    harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness.running() as service:
        storage, loop = service.context.storage, asyncio.get_running_loop()
        starting = asyncio.create_task(service.charges.start(1, "C5T4", FULL, "k"))

        def gone_meanwhile(work: Callable[[sqlite3.Connection], object]) -> Callable[[sqlite3.Connection], object]:
            def slow(connection: sqlite3.Connection) -> object:
                cancelled = threading.Event()
                loop.call_soon_threadsafe(starting.cancel)
                loop.call_soon_threadsafe(cancelled.set)
                assert cancelled.wait(5)
                return work(connection)

            return slow

        write = storage.write
        monkeypatch.setattr(storage, "write", lambda work: write(gone_meanwhile(work)))
        with pytest.raises(asyncio.CancelledError):
            await starting
        view = await service.charges.start(1, "C5T4", FULL, "k")
        assert view.state == "waiting_for_load"
        assert harness.guard.outlets[3].session_id == view.session_id
    assert len(harness.guard.commands) == 1
    harness.check_books()


async def test_a_snapshot_from_before_the_start_says_nothing_against_it(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        before = harness.guard.snapshot()
        harness.clock.advance_ns(1)
        view = await service.charges.start(1, "C5T4", FULL, "k")
        assert harness.guard.link is not None
        harness.guard.link.on_snapshot(before)
        await service.reconcile()
        assert (await service.charges.session(1, view.session_id)).state == "waiting_for_load"
    assert len(harness.guard.commands) == 1


async def test_money_that_does_not_pay_for_a_second_starts_nothing(tmp_path: Path) -> None:
    harness = ServiceHarness(tmp_path, {"start_fee_fen = 0": "start_fee_fen = 300"}, balance_fen=300)
    async with harness.running() as service:
        found = await refusal(service.charges.start(1, "C5T4", FULL, "k"))
    assert (found.code, found.params) == ("no_money", {"balance_fen": 300, "needed_fen": 301})
    assert harness.guard.commands == []


async def test_without_the_guard_nothing_starts_and_pages_say_so(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        assert service.charges.accepting() is None
        harness.guard.disconnect()
        assert (service.charges.guard_reachable(), service.charges.accepting()) == (False, "guard_unreachable")
        outlet = await service.charges.outlet("C5T4")
        assert (outlet.condition, outlet.refusal, outlet.power_mw) == ("unreachable", "guard_unreachable", None)
        assert (await refusal(service.charges.start(1, "C5T4", FULL, "k"))).code == "guard_unreachable"
        await harness.guard.connect()
        assert (await service.charges.outlet("C5T4")).condition == "free"
        let_snapshots_age(harness)
        assert service.charges.accepting() == "guard_unreachable", "a connection over which nothing comes is none"
    assert harness.balance_fen("wallet:1") == 2000


async def test_sessions_are_their_residents_own(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "k")
        for asked in (service.charges.session, service.charges.stop, service.charges.curve):
            assert (await refusal(asked(2, view.session_id))).code == "not_yours"
            assert (await refusal(asked(1, "no-such-session"))).code == "unknown_session"
        assert harness.guard.outlets[3].session_id == view.session_id
        harness.guard.end(3, EndReason.NO_LOAD)
        await harness.settle(service)
        for asked in (service.charges.session, service.charges.stop, service.charges.curve):
            assert (await refusal(asked(2, view.session_id))).code == "not_yours"
