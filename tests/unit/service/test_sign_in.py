"""Cards and PINs: who guesses is locked out, and learns nothing on the way."""

import asyncio
from pathlib import Path

import argon2
import pytest

from cabinet import secret_hash
from cabinet.clock import NS, ManualClock
from cabinet.errors import Refused
from cabinet.link import service_status
from cabinet.service.accounts import admin, lockout, sign_in
from cabinet.service.accounts.lockout import ATTACK_SHOWN_NS, Lockout
from cabinet.service.accounts.sign_in import MAX_FAILURES_PER_ADDRESS, MAX_FAILURES_PER_NAME
from cabinet.service.app import Service
from cabinet.store.database import Database
from cabinet_testing.service_harness import CARDS, PIN, QUICK, ServiceHarness, code_of, staff_token

WRONG = "0000"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of checking a hash is in the hash; only making one is cheaper here."""
    monkeypatch.setattr(secret_hash, "_dummy_hash", lambda: _QUICK)


_QUICK = QUICK.hash("nobody's")


async def staff_name(service: Service, token: str, active: bool = True) -> str:
    return (await service.property_.staff.actor(token, "here", active)).staff.name


async def test_the_right_pin_signs_in_and_signing_out_ends_it(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        token = await service.accounts.sign_in(CARDS[0], PIN, "here")
        other = await service.accounts.sign_in(CARDS[1], PIN, "here")
        assert (await service.accounts.resident(token)).card == CARDS[0]
        await service.accounts.sign_out(token)
        assert await code_of(service.accounts.resident(token)) == "signed_out"
        assert (await service.accounts.resident(other)).card == CARDS[1]
        assert await code_of(service.accounts.resident("made-up")) == "signed_out"


async def test_a_token_outlives_the_service_and_not_its_time(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        token = await service.accounts.sign_in(CARDS[0], PIN, "here")
    async with harness.running() as service:
        assert (await service.accounts.resident(token)).resident_id == 1
        harness.clock.advance_ns(30 * 86_400 * NS)
        assert await code_of(service.accounts.resident(token)) == "signed_out"


async def test_a_sign_in_that_is_used_goes_on_up_to_half_a_year(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        token = await service.accounts.sign_in(CARDS[0], PIN, "here")
        for _ in range(8):
            harness.clock.advance_ns(20 * 86_400 * NS)
            assert (await service.accounts.resident(token)).resident_id == 1
        harness.clock.advance_ns(20 * 86_400 * NS)
        assert await code_of(service.accounts.resident(token)) == "signed_out"


async def test_staff_who_leave_their_desk_are_signed_out_although_the_page_goes_on_by_itself(
    harness: ServiceHarness,
) -> None:
    with harness.administering() as database:
        admin.add_staff(database, harness.clock, "office", "long-enough-password")
    async with harness.running() as service:
        token = await staff_token(service, "office", "long-enough-password", "here")
        for minutes in (50, 50, 40):
            harness.clock.advance_ns(minutes * 60 * NS)
            assert await staff_name(service, token) == "office"
        harness.clock.advance_ns(40 * 60 * NS)
        assert await staff_name(service, token, active=False) == "office"
        harness.clock.advance_ns(20 * 60 * NS)
        assert await code_of(staff_name(service, token)) == "signed_out"


async def test_staff_sign_in_anew_after_twelve_hours_whatever_they_do(harness: ServiceHarness) -> None:
    with harness.administering() as database:
        admin.add_staff(database, harness.clock, "office", "long-enough-password")
    async with harness.running() as service:
        token = await staff_token(service, "office", "long-enough-password", "here")
        for _ in range(23):
            harness.clock.advance_ns(30 * 60 * NS)
            await staff_name(service, token)
        harness.clock.advance_ns(30 * 60 * NS)
        assert await code_of(staff_name(service, token)) == "signed_out"


async def test_signing_out_everywhere_ends_every_phone_of_the_resident_and_nobody_elses(
    harness: ServiceHarness,
) -> None:
    async with harness.running() as service:
        phone, tablet = [await service.accounts.sign_in(CARDS[0], PIN, "here") for _ in range(2)]
        other = await service.accounts.sign_in(CARDS[1], PIN, "here")
        await service.accounts.sign_out(phone, everywhere=True)
        assert await code_of(service.accounts.resident(phone)) == "signed_out"
        assert await code_of(service.accounts.resident(tablet)) == "signed_out"
        assert (await service.accounts.resident(other)).card == CARDS[1]
        await service.accounts.sign_out(phone, everywhere=True)
        assert (await service.accounts.resident(other)).card == CARDS[1], "a token that is over ends nothing"


async def test_a_residents_token_is_none_of_staff(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        token = await service.accounts.sign_in(CARDS[0], PIN, "here")
        assert await code_of(staff_name(service, token)) == "signed_out"


def test_only_a_hash_of_the_token_is_stored(tmp_path: Path) -> None:
    async def story() -> str:
        harness = ServiceHarness(tmp_path)
        async with harness.running() as service:
            return await service.accounts.sign_in(CARDS[0], PIN, "here")

    token = asyncio.run(story())
    assert token.encode() not in (tmp_path / "state" / "cabinet.db").read_bytes()


async def guess(service: Service, card: str, address: str, times: int) -> list[str]:
    return [await code_of(service.accounts.sign_in(card, WRONG, address)) for _ in range(times)]


@pytest.mark.parametrize("card", [CARDS[0], "99999999"], ids=["a card there is", "a card there is not"])
async def test_five_wrong_pins_lock_a_card_for_five_minutes_known_or_not(harness: ServiceHarness, card: str) -> None:
    async with harness.running() as service:
        assert await guess(service, card, "here", 6) == ["wrong_card_or_pin"] * 5 + ["locked_out"]
        harness.clock.advance_ns(299 * NS)
        assert await guess(service, card, "elsewhere", 1) == ["locked_out"]
        assert (await service.accounts.sign_in(CARDS[1], PIN, "here")) != ""
        harness.clock.advance_ns(1 * NS)
        assert await guess(service, card, "here", 1) == ["wrong_card_or_pin"]


async def test_the_right_pin_does_not_pass_a_lock(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        await guess(service, CARDS[0], "here", 5)
        assert await code_of(service.accounts.sign_in(CARDS[0], PIN, "here")) == "locked_out"


async def test_guesses_at_once_are_counted_before_they_are_checked(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        answers = await asyncio.gather(
            *(service.accounts.sign_in(CARDS[0], WRONG, "here") for _ in range(12)), return_exceptions=True
        )
    codes = [answer.code for answer in answers if isinstance(answer, Refused)]
    assert sorted(codes) == ["locked_out"] * 7 + ["wrong_card_or_pin"] * 5


async def test_an_address_that_guesses_at_many_cards_is_locked_out(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        for number in range(20):
            assert await code_of(service.accounts.sign_in(f"2000{number:04}", WRONG, "there")) == "wrong_card_or_pin"
            if number == 10:
                await service.accounts.sign_in(CARDS[0], PIN, "there")  # an own card does not wipe the slate clean
        assert await code_of(service.accounts.sign_in(CARDS[0], PIN, "there")) == "locked_out"
        assert await service.accounts.sign_in(CARDS[0], PIN, "here")


def test_a_lock_says_how_long_it_lasts() -> None:
    clock = ManualClock()
    table = Lockout(clock, 1)
    table.count("card")
    clock.advance_ns(100 * NS + 1)
    with pytest.raises(Refused) as caught:
        table.check("card")
    assert caught.value.params == {"retry_after_s": 200}


def test_a_success_forgets_the_failures_before_it() -> None:
    table = Lockout(ManualClock(), 5)
    for _ in range(20):
        table.count("card")
        table.forget("card")
    for _ in range(5):
        table.check("card")
        table.count("card")
    with pytest.raises(Refused, match="locked_out"):
        table.check("card")


async def test_a_blocked_card_is_told_only_to_who_knows_its_pin_and_is_signed_out(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        token = await service.accounts.sign_in(CARDS[0], PIN, "here")
        database = Database(admin.database_path(harness.config))
        admin.block_resident(database, CARDS[0], True)
        assert await code_of(service.accounts.resident(token)) == "signed_out"
        assert await code_of(service.accounts.sign_in(CARDS[0], WRONG, "here")) == "wrong_card_or_pin"
        assert await code_of(service.accounts.sign_in(CARDS[0], PIN, "here")) == "card_blocked"
        admin.block_resident(database, CARDS[0], False)
        database.close()
        assert await service.accounts.sign_in(CARDS[0], PIN, "here")


async def test_staff_sign_in_apart_from_residents(harness: ServiceHarness) -> None:
    database = Database(admin.database_path(harness.config))
    password = admin.add_staff(database, harness.clock, "office")
    async with harness.running() as service:
        token = await staff_token(service, "office", password, "here")
        assert await staff_name(service, token) == "office"
        assert await code_of(service.accounts.resident(token)) == "signed_out"
        resident = await service.accounts.sign_in(CARDS[0], PIN, "here")
        assert await code_of(staff_name(service, resident)) == "signed_out"
        assert await code_of(service.accounts.sign_in_staff("office", "wrong", "here")) == "wrong_card_or_pin"
        admin.revoke(database, "office")
        assert await code_of(staff_name(service, token)) == "signed_out"
    database.close()


async def test_a_token_of_the_api_allows_its_scopes_until_it_is_revoked(harness: ServiceHarness) -> None:
    database = Database(admin.database_path(harness.config))
    bearer = admin.add_token(database, harness.clock, "accounting", ("usage:read",))
    async with harness.running() as service:
        await service.accounts.check_scope(bearer, "usage:read")
        assert await code_of(service.accounts.check_scope(bearer, "cabinet:read")) == "scope_missing"
        assert await code_of(service.accounts.check_scope(bearer + "x", "usage:read")) == "wrong_token"
        assert await code_of(service.accounts.check_scope("", "usage:read")) == "wrong_token"
        admin.revoke(database, "accounting")
        assert await code_of(service.accounts.check_scope(bearer, "usage:read")) == "wrong_token"
    database.close()


def test_an_unknown_name_costs_the_work_of_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    real = secret_hash.HASHER.verify

    class Counting:
        def verify(self, known: str, secret: str) -> bool:
            checked.append(known)
            return real(known, secret)

    monkeypatch.setattr(secret_hash, "HASHER", Counting())
    assert not secret_hash.matches(None, "4711")
    assert not secret_hash.matches(_QUICK, "4711")
    assert checked == [_QUICK, _QUICK]


def test_the_hash_for_nobody_is_of_the_same_kind_as_a_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    parameters = [argon2.extract_parameters(h) for h in (secret_hash._dummy_hash(), secret_hash.hash_secret("x"))]
    assert parameters[0] == parameters[1]


def test_signing_in_again_and_again_fills_no_disk(harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "MAX_LOGINS", 3)

    async def story() -> None:
        async with harness.running() as service:
            other = await service.accounts.sign_in(CARDS[1], PIN, "here")
            tokens = []
            for _ in range(5):
                harness.clock.advance_ns(NS)
                tokens.append(await service.accounts.sign_in(CARDS[0], PIN, "here"))
            for token in tokens[:2]:
                assert await code_of(service.accounts.resident(token)) == "signed_out"
            for token in tokens[2:]:
                assert (await service.accounts.resident(token)).card == CARDS[0]
            assert (await service.accounts.resident(other)).card == CARDS[1]

    asyncio.run(story())


# --- nothing a stranger tries costs others ---------------------------------------------------------------------------


async def test_an_address_that_is_locked_out_locks_no_card_and_not_the_office(harness: ServiceHarness) -> None:
    with harness.administering() as database:
        password = admin.add_staff(database, harness.clock, "office")
    async with harness.running() as service:
        for number in range(20):
            await guess(service, f"2000{number:04}", "there", 1)
        for _ in range(10):
            assert await guess(service, CARDS[0], "there", 1) == ["locked_out"]
            assert await code_of(service.accounts.sign_in_staff("office", "wrong", "there")) == "locked_out"
        assert await service.accounts.sign_in(CARDS[0], PIN, "here")
        assert await service.accounts.sign_in_staff("office", password, "here")


async def test_a_card_that_is_locked_costs_the_address_of_its_owner_nothing(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        await guess(service, CARDS[0], "there", 5)
        assert await guess(service, CARDS[0], "here", 30) == ["locked_out"] * 30
        assert await service.accounts.sign_in(CARDS[1], PIN, "here")


async def test_who_has_signed_in_from_an_address_is_not_locked_out_there_by_strangers_elsewhere(
    harness: ServiceHarness,
) -> None:
    async with harness.running() as service:
        await service.accounts.sign_in(CARDS[0], PIN, "home")
        assert await guess(service, CARDS[0], "there", 6) == ["wrong_card_or_pin"] * 5 + ["locked_out"]
        assert await service.accounts.sign_in(CARDS[0], PIN, "home")
        assert await guess(service, CARDS[0], "home", 6) == ["wrong_card_or_pin"] * 5 + ["locked_out"]


def test_ten_thousand_made_up_names_make_no_lock_forgotten(
    harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockout, "MAX_KEYS", 50)

    async def story() -> None:
        async with harness.running() as service:
            await guess(service, CARDS[0], "there", 5)
            for number in range(60):
                assert await guess(service, f"3000{number:04}", f"address {number}", 1) == ["wrong_card_or_pin"]
            assert await code_of(service.accounts.sign_in(CARDS[0], PIN, "elsewhere")) == "locked_out"

    asyncio.run(story())


def test_a_full_table_lets_go_of_what_is_not_locked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "MAX_KEYS", 10)
    table = Lockout(ManualClock(), 2)
    for key in ("locked", "locked"):
        table.count(key)
    for number in range(100):
        table.count(f"once {number}")
    with pytest.raises(Refused, match="locked_out"):
        table.check("locked")
    assert len(table._counting) + len(table._locked) == 10


async def test_what_was_refused_for_another_reason_is_no_failure_of_a_second_factor(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        for code, times in (("storage_full", 30), ("expired", 30), ("wrong_second_factor", 5)):
            for _ in range(times):
                with pytest.raises(Refused, match=code), service.accounts.attempt("office", "here"):
                    raise Refused(code)
        with pytest.raises(Refused, match="locked_out"), service.accounts.attempt("office", "here"):
            pass


def test_staff_hear_of_somebody_who_guesses_and_the_log_has_a_line_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        harness = ServiceHarness(tmp_path)
        async with harness.running() as service:
            assert service.accounts.attack() is None
            await guess(service, CARDS[0], "there", 5)
            attack = service.accounts.attack()
            assert attack is not None
            assert (attack.locks, attack.address) == (1, "there")
            await service.checkpoint()
            beat = service_status.path_in(Path(harness.config.paths.run))
            assert service_status.attacking_address(beat, harness.clock.monotonic_ns()) == "there"
            for card in CARDS[1:]:
                await guess(service, card, "there", 5)
            assert "locks lately: 1" in caplog.text
            assert caplog.text.count("sign-ins from") == 1
            harness.clock.advance_ns(ATTACK_SHOWN_NS)
            assert service.accounts.attack() is None

    Path(tmp_path / "run").mkdir()
    asyncio.run(story())


async def test_the_last_attempt_before_a_lock_is_no_attack_if_it_is_right(
    harness: ServiceHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Attempts are counted before they are checked; staff hear only of those that failed."""
    async with harness.running() as service:
        await guess(service, CARDS[0], "home", MAX_FAILURES_PER_NAME - 1)
        assert await service.accounts.sign_in(CARDS[0], PIN, "home")
        for number in range(MAX_FAILURES_PER_ADDRESS - 1):
            await guess(service, f"4000{number:04}", "office", 1)
        assert await service.accounts.sign_in(CARDS[1], PIN, "office")
        for _ in range(MAX_FAILURES_PER_NAME - 1):
            with pytest.raises(Refused, match="wrong_second_factor"), service.accounts.attempt("office", "there"):
                raise Refused("wrong_second_factor")
        with service.accounts.attempt("office", "there"):
            pass
        assert service.accounts.attack() is None
        assert "sign-ins from" not in caplog.text
        assert await guess(service, "40009999", "office", 1) == ["wrong_card_or_pin"]
        attack = service.accounts.attack()
        assert attack is not None
        assert attack.address == "office"
