"""Guests: a code from the office signs in once, and charges with the money that was paid for it."""

import asyncio
from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.errors import CabinetError
from cabinet.service.accounts import admin, guests
from cabinet.service.accounts.guests import Issued
from cabinet.store.database import Database
from cabinet_testing.service_harness import FULL, ServiceHarness, code_of

HOUR_NS = 3600 * NS


def issue(harness: ServiceHarness, balance_fen: int = 1000, hours: int = 24) -> Issued:
    with harness.administering() as database:
        issued = guests.issue(database, harness.clock, balance_fen, hours)
    return issued


def other(code: str) -> str:
    """The same number with another secret."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


async def test_a_guest_charges_with_the_money_of_the_code_like_anybody(harness: ServiceHarness) -> None:
    issued = issue(harness)
    async with harness.running() as service:
        guest = await service.accounts.resident(await service.accounts.sign_in_guest(issued.code, "here"))
        assert (guest.guest, guest.balance_fen, guest.card) == (True, 1000, issued.card)
        view = await service.charges.start(guest.resident_id, "C5T4", FULL, "a-request-key")
        await harness.charge(service, 3, 600)
        await harness.stop(service, guest.resident_id, view.session_id)
        await harness.settle(service)
        over = await service.charges.session(guest.resident_id, view.session_id)
        assert over.cost_fen > 0
        page = await service.charges.statement(guest.resident_id, None, 10)
        assert page.lines[0].balance_fen == 1000 - over.cost_fen
    harness.check_books()


async def test_a_code_signs_in_once(harness: ServiceHarness) -> None:
    code = issue(harness).code
    async with harness.running() as service:
        answers = await asyncio.gather(
            *(service.accounts.sign_in_guest(code, "here") for _ in range(3)), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["Refused", "Refused", "str"]
        assert await code_of(service.accounts.sign_in_guest(code, "here")) == "wrong_code"


async def test_a_code_ends_with_its_time_and_the_sign_in_two_days_after(harness: ServiceHarness) -> None:
    late, early = issue(harness, hours=2).code, issue(harness, hours=2).code
    async with harness.running() as service:
        token = await service.accounts.sign_in_guest(early, "here")
        harness.clock.advance_ns(2 * HOUR_NS)
        assert await code_of(service.accounts.sign_in_guest(late, "here")) == "wrong_code"
        harness.clock.advance_ns(45 * HOUR_NS)
        assert (await service.accounts.resident(token)).guest
        harness.clock.advance_ns(HOUR_NS)
        assert await code_of(service.accounts.resident(token)) == "signed_out"


@pytest.mark.parametrize("known", [True, False], ids=["a number there is", "a number there is not"])
async def test_guessing_at_a_code_is_locked_out_like_guessing_at_a_pin(harness: ServiceHarness, known: bool) -> None:
    code = issue(harness).code
    guess = other(code) if known else f"{(int(code[:4]) + 1) % 10_000:04}000000"
    async with harness.running() as service:
        answers = [await code_of(service.accounts.sign_in_guest(guess, "here")) for _ in range(6)]
        assert answers == ["wrong_code"] * 5 + ["locked_out"]
        if known:
            assert await code_of(service.accounts.sign_in_guest(code, "elsewhere")) == "locked_out"


@pytest.mark.parametrize("code", ["", "1", "12345", "x" * 64, "１２３４５６７８９０"])
async def test_what_is_no_code_is_wrong(harness: ServiceHarness, code: str) -> None:
    async with harness.running() as service:
        assert await code_of(service.accounts.sign_in_guest(code, "here")) == "wrong_code"


async def test_a_guest_has_no_pin_that_could_be_right(harness: ServiceHarness) -> None:
    card = issue(harness).card
    async with harness.running() as service:
        for pin in ("", "0000", "None"):
            assert await code_of(service.accounts.sign_in(card, pin, "here")) == "wrong_card_or_pin"


async def test_a_blocked_guest_does_not_get_in_and_keeps_the_code(harness: ServiceHarness) -> None:
    issued = issue(harness)
    database = Database(admin.database_path(harness.config))
    async with harness.running() as service:
        admin.block_resident(database, issued.card, True)
        assert await code_of(service.accounts.sign_in_guest(issued.code, "here")) == "card_blocked"
        admin.block_resident(database, issued.card, False)
        assert await service.accounts.sign_in_guest(issued.code, "here")
    database.close()


def test_only_a_hash_of_the_secret_is_stored(tmp_path: Path) -> None:
    harness = ServiceHarness(tmp_path)
    code = issue(harness).code
    for path in (tmp_path / "state").iterdir():
        assert code[4:].encode() not in path.read_bytes() if path.is_file() else True


@pytest.mark.parametrize(("balance_fen", "hours"), [(0, 24), (-5, 24), (100, 0), (100, 169)])
def test_a_guest_without_money_or_with_an_endless_code_is_not_made(
    harness: ServiceHarness, balance_fen: int, hours: int
) -> None:
    with pytest.raises(CabinetError):
        issue(harness, balance_fen, hours)
    with harness.database() as connection:
        assert connection.execute("SELECT count(*) FROM resident WHERE guest").fetchone()[0] == 0


def test_a_code_is_read_out_in_groups() -> None:
    assert guests.spoken("4821730915") == "4821 730 915"
