"""The line for power: first come, first served, nothing held, nobody overtaken, and the same after a restart."""

import asyncio
from collections.abc import Callable

import pytest

from cabinet.clock import NS
from cabinet.link.guard_protocol import Energise
from cabinet.model import EndReason, Fault
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.service.ports import StartChoice, WaitingView
from cabinet_testing.service_harness import CARDS, FULL, ServiceHarness, code_of

TWO_HOURS = StartChoice("hours", seconds=7200)


async def pass_time(harness: ServiceHarness, service: Service, seconds: float, steps: int = 1) -> None:
    for _ in range(steps):
        harness.clock.advance_ns(int(seconds * NS / steps))
        await harness.settle(service)
        await service.serve_queue()


def started(harness: ServiceHarness) -> list[int]:
    return [command.outlet for command in harness.guard.commands if isinstance(command, Energise)]


async def test_who_waits_is_started_in_turn_one_a_second_with_what_was_chosen(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        assert await code_of(service.charges.start(2, "E2W7", TWO_HOURS, "k")) == "feed_full"
        assert (await service.charges.queue.join(2, "E2W7", TWO_HOURS)).place == 1
        assert (await service.charges.queue.join(1, "C5T4", FULL)).place == 2
        assert (await service.charges.queue.join(3, "A7K2", FULL)).place == 3
        assert [harness.balance_fen(f"wallet:{number}") for number in (1, 2, 3)] == [2000] * 3
        assert service.charges.cabinet().waiting == 3
        await pass_time(harness, service, 60, steps=10)
        assert started(harness) == []
        harness.guard.let_close()
        await pass_time(harness, service, 0.1)
        await pass_time(harness, service, 0.8, steps=4)
        assert started(harness) == [5], "one, and not the next within a second"
        assert [await service.charges.queue.view(number) for number in (2,)] == [None]
        assert await service.charges.queue.view(1) == WaitingView(3, "C5T4", "full", 0, 1, None)
        await pass_time(harness, service, 2, steps=10)
        assert started(harness) == [5, 3, 1]
        (first,) = await service.charges.sessions(2)
        assert (first.choice, first.choice_amount, first.state) == ("hours", 7200, "waiting_for_load")
        assert service.charges.cabinet().waiting == 0
    harness.check_books()


async def test_nobody_overtakes_the_line(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        await service.charges.queue.join(1, "C5T4", FULL)
        harness.guard.let_close()
        harness.guard.show()
        assert ((await service.charges.outlet("C5T4")).refusal, (await service.charges.outlet("A7K2")).refusal) == (
            "reserved",
            "feed_full",
        )
        assert await code_of(service.charges.start(2, "A7K2", FULL, "k1")) == "feed_full"
        assert await code_of(service.charges.start(2, "C5T4", FULL, "k2")) == "reserved"
        assert await code_of(service.charges.queue.join(2, "C5T4", FULL)) == "reserved"
        view = await service.charges.start(1, "C5T4", FULL, "k3")
        assert view.state == "waiting_for_load", "the first may also press the button"
        assert await service.charges.queue.view(1) is None
        assert (await service.charges.start(2, "A7K2", FULL, "k4")).state == "waiting_for_load"
    harness.check_books()


async def test_a_refusal_for_want_of_power_at_the_last_moment_keeps_the_place(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        await service.charges.queue.join(1, "C5T4", FULL)
        await service.charges.queue.join(2, "A7K2", FULL)
        harness.guard.let_close()
        harness.guard.refuse[Energise] = ["feed_full", "guard_unreachable", "not_ready"]
        await pass_time(harness, service, 10, steps=20)
        assert started(harness) == [3, 3, 3, 3, 1]
        assert [view.state for view in await service.charges.sessions(1)] == ["waiting_for_load"]
        assert harness.balance_fen("wallet:1") == 1500
    harness.check_books()


def admin_block(harness: ServiceHarness) -> None:
    with harness.administering() as database:
        admin.block_resident(database, CARDS[0], True)


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        pytest.param(admin_block, "card_blocked", id="the card was blocked meanwhile"),
        pytest.param(lambda harness: harness.guard.trip(3, Fault.OUTLET_HOT), "fault_latched", id="the outlet broke"),
    ],
)
async def test_what_stands_against_one_alone_ends_its_waiting_and_says_why(
    harness: ServiceHarness, trouble: Callable[[ServiceHarness], None], code: str
) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        await service.charges.queue.join(1, "C5T4", FULL)
        await service.charges.queue.join(2, "A7K2", FULL)
        harness.guard.let_close()
        trouble(harness)
        await pass_time(harness, service, 15, steps=30)
        over = await service.charges.queue.view(1)
        assert over is not None
        assert (over.place, over.outcome) == (None, code)
        assert started(harness) == [1]
        await service.charges.queue.leave(1)
        assert await service.charges.queue.view(1) is None
    harness.check_books()


async def test_half_an_hour_without_power_ends_the_waiting(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        await service.charges.queue.join(1, "C5T4", FULL)
        await pass_time(harness, service, 1799)
        waiting = await service.charges.queue.view(1)
        assert waiting is not None
        assert waiting.place == 1
        await pass_time(harness, service, 2)
        over = await service.charges.queue.view(1)
        assert over is not None
        assert (over.place, over.outcome) == (None, "expired")
        assert (await service.charges.outlet("C5T4")).refusal == "feed_full", "not reserved any more"
        assert (await service.charges.queue.join(1, "C5T4", FULL)).place == 1, "and may wait again"
        await service.charges.queue.leave(1)
    assert started(harness) == []


async def test_who_leaves_the_line_is_not_started(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        await service.charges.queue.join(1, "C5T4", FULL)
        await service.charges.queue.join(2, "A7K2", FULL)
        await service.charges.queue.leave(1)
        await service.charges.queue.leave(1)
        harness.guard.let_close()
        await pass_time(harness, service, 5, steps=10)
    assert started(harness) == [1]


async def test_one_entry_a_resident_who_may_change_the_outlet_and_keeps_the_place(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        await service.charges.queue.join(1, "C5T4", FULL)
        await service.charges.queue.join(2, "A7K2", FULL)
        moved = await service.charges.queue.join(1, "E2W7", TWO_HOURS)
        assert moved == WaitingView(5, "E2W7", "hours", 7200, 1, None)
        assert (await service.charges.outlet("C5T4")).refusal == "feed_full"
        assert service.charges.cabinet().waiting == 2


@pytest.mark.parametrize(
    ("prepare", "code", "choice", "refused"),
    [
        (lambda harness: None, "ZZZZ", FULL, "unknown_code"),
        (lambda harness: None, "C5T4", StartChoice("hours", seconds=1), "bad_choice"),
        (lambda harness: None, "C5T4", StartChoice("amount", amount_fen=3000), "no_money"),
        (admin_block, "C5T4", FULL, "card_blocked"),
        (lambda harness: harness.guard.trip(3, Fault.SHORT_CIRCUIT), "C5T4", FULL, "fault_latched"),
        (lambda harness: harness.clock.advance_ns(4 * NS), "C5T4", FULL, "guard_unreachable"),
    ],
)
async def test_waiting_is_refused_for_what_would_refuse_the_start(
    harness: ServiceHarness, prepare: Callable[[ServiceHarness], None], code: str, choice: StartChoice, refused: str
) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        prepare(harness)
        if refused != "guard_unreachable":
            await harness.settle(service)
        assert await code_of(service.charges.queue.join(1, code, choice)) == refused
        assert await service.charges.queue.view(1) is None


async def test_who_charges_does_not_wait(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        await service.charges.start(1, "C5T4", FULL, "k")
        harness.guard.fill_up()
        harness.guard.show()
        assert await code_of(service.charges.queue.join(1, "A7K2", FULL)) == "already_charging"
        assert await code_of(service.charges.queue.join(2, "C5T4", FULL)) == "outlet_busy"


async def test_the_line_survives_the_service_and_is_served_after_it(harness: ServiceHarness) -> None:
    service = await harness.open()
    harness.guard.fill_up()
    harness.guard.show()
    await service.charges.queue.join(2, "E2W7", TWO_HOURS)
    await service.charges.queue.join(1, "C5T4", FULL)
    await harness.die(service)
    harness.clock.advance_ns(60 * NS)
    async with harness.running() as service:
        assert await service.charges.queue.view(1) == WaitingView(3, "C5T4", "full", 0, 2, None)
        harness.guard.let_close()
        await pass_time(harness, service, 5, steps=10)
        assert started(harness) == [5, 3]
    harness.check_books()


async def test_killed_between_the_start_and_its_entry_starts_once(harness: ServiceHarness) -> None:
    service = await harness.open()
    harness.guard.fill_up()
    harness.guard.show()
    await service.charges.queue.join(1, "C5T4", FULL)
    with harness.database() as connection:
        entry = dict(connection.execute("SELECT * FROM waiting").fetchone())
    harness.guard.let_close()
    await pass_time(harness, service, 1)
    await harness.die(service)
    with harness.administering() as database, database.transaction() as connection:
        # as if the entry had not been taken out
        names = ", ".join(entry)
        marks = ", ".join(f":{name}" for name in entry)
        connection.execute(f"INSERT INTO waiting ({names}) VALUES ({marks})", entry)
    harness.guard.end(3, EndReason.FULL)
    async with harness.running() as service:
        await pass_time(harness, service, 5, steps=10)
        assert await service.charges.queue.view(1) is None
        assert len(await service.charges.sessions(1)) == 1
    assert started(harness) == [3]
    harness.check_books()


async def test_an_interrupted_charge_goes_before_the_line(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        await service.charges.start(2, "A7K2", FULL, "k")
        await harness.charge(service, 1, 20)
        harness.guard.fill_up()
        harness.guard.show()
        await service.charges.queue.join(1, "C5T4", FULL)
        harness.guard.suspend(Fault.UNDERVOLTAGE)
        await pass_time(harness, service, 5, steps=5)
        harness.guard.let_close()
        before = len(harness.guard.commands)
        harness.guard.refuse[Energise] = ["feed_full"] * 2
        await pass_time(harness, service, 8, steps=16)
        asked = [command.outlet for command in harness.guard.commands[before:] if isinstance(command, Energise)]
    assert asked[:3] == [1, 1, 1]
    assert asked[-1] == 3


async def test_viewers_are_woken_when_the_line_moves(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        harness.guard.fill_up()
        harness.guard.show()
        watch = service.charges.changes((await service.charges.outlets())[6])
        await anext(watch)
        coming = asyncio.ensure_future(anext(watch))
        harness.clock.advance_ns(NS)
        await service.charges.queue.join(1, "C5T4", FULL)
        async with asyncio.timeout(5):
            await coming
