"""The second factor of staff: who knows only the password gets nowhere, and learns nothing on the way."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cabinet import secret_hash
from cabinet.clock import NS
from cabinet.errors import CabinetError
from cabinet.records import Actor
from cabinet.service.accounts import admin, lockout, sign_in, totp
from cabinet.service.accounts.sign_in import Authenticator
from cabinet.service.app import Service
from cabinet.service.ports import SecondStep
from cabinet.store import second_factors, staff
from cabinet_testing.service_harness import QUICK, ServiceHarness, code_of

PASSWORD = "office-password"
_QUICK = QUICK.hash("nobody's")


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_hash, "_dummy_hash", lambda: _QUICK)


class SecondFactorHarness(SimpleNamespace):
    """A service with one member of staff, whose second factor is on; `codes` are the recovery codes."""

    harness: ServiceHarness
    service: Service
    actor: Actor
    secret: bytes
    codes: list[str]

    @property
    def accounts(self) -> Authenticator:
        return self.service.accounts

    def code(self, steps: int = 0) -> str:
        """Return the code that the phone shows so many steps from now."""
        return totp.code_of(self.secret, self.harness.clock.wall().unix_ms // 1000 // totp.STEP_S + steps)

    async def pending_step(self) -> str:
        step = await self.service.accounts.sign_in_staff("office", PASSWORD, "here")
        assert isinstance(step, SecondStep)
        return step.key

    def next_step(self) -> None:
        self.harness.clock.advance_ns(totp.STEP_S * NS)

    def audit(self) -> list[str]:
        with self.harness.database() as connection:
            return [row["action"] for row in connection.execute("SELECT action FROM audit_entry ORDER BY number")]


def tell(folder: Path, story: Callable[[SecondFactorHarness], Awaitable[None]]) -> None:
    async def run() -> None:
        harness = ServiceHarness(folder)
        with harness.administering() as database, database.transaction() as connection:
            staff.add(connection, "office", QUICK.hash(PASSWORD), 0)
            staff.add(connection, "other", QUICK.hash(PASSWORD), 0)
        async with harness.running() as service:
            token = await service.accounts.sign_in_staff("office", PASSWORD, "here")
            assert isinstance(token, str)
            actor = await service.property_.staff.actor(token, "here")
            factor = service.property_.second_factor
            await factor.begin(actor)
            row = await service.context.storage.read(lambda c: second_factors.of_staff(c, actor.staff.staff_id))
            assert row is not None
            sim = SecondFactorHarness(harness=harness, service=service, actor=actor, secret=row.secret)
            sim.codes = await factor.confirm(actor, sim.code())
            sim.next_step()
            await story(sim)

    asyncio.run(run())


def test_the_password_alone_signs_nobody_in_and_a_code_does(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        key = await sim.pending_step()
        assert await code_of(sim.service.property_.staff.actor(key, "here")) == "signed_out"
        token = await sim.accounts.sign_in_staff_code(key, sim.code(), "here")
        assert (await sim.service.property_.staff.actor(token, "here")).staff.name == "office"
        assert await code_of(sim.accounts.sign_in_staff_code(key, sim.code(1), "here")) == "expired"
        assert sim.audit() == ["sign_in", "second_factor_on", "sign_in"]

    tell(tmp_path, story)


def test_a_code_signs_in_once(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        code = sim.code()
        await sim.accounts.sign_in_staff_code(await sim.pending_step(), code, "here")
        again = await sim.pending_step()
        assert await code_of(sim.accounts.sign_in_staff_code(again, code, "here")) == "wrong_second_factor"
        assert await code_of(sim.accounts.sign_in_staff_code(again, sim.code(-1), "here")) == "wrong_second_factor"
        sim.next_step()
        assert await sim.accounts.sign_in_staff_code(again, sim.code(), "here")

    tell(tmp_path, story)


def test_the_code_that_switched_it_on_signs_nobody_in(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        key = await sim.pending_step()
        assert await code_of(sim.accounts.sign_in_staff_code(key, sim.code(-1), "here")) == "wrong_second_factor"

    tell(tmp_path, story)


def test_of_two_sign_ins_with_one_code_at_once_one_is_refused(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        keys = [await sim.pending_step(), await sim.pending_step()]
        asked = [sim.accounts.sign_in_staff_code(key, sim.code(), "here") for key in keys]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sorted(isinstance(answer, str) for answer in answers) == [False, True]

    tell(tmp_path, story)


def test_a_recovery_code_signs_in_once_however_it_is_typed_and_is_noted(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        assert len(set(sim.codes)) == 10
        first, second = sim.codes[:2]
        assert await sim.accounts.sign_in_staff_code(await sim.pending_step(), first, "here")
        again = await sim.pending_step()
        assert await code_of(sim.accounts.sign_in_staff_code(again, first, "here")) == "wrong_second_factor"
        typed = f" {second.replace('-', ' ').lower()} "
        assert await sim.accounts.sign_in_staff_code(again, typed, "here")
        assert (await sim.service.property_.second_factor.state(sim.actor)).codes_left == 8
        assert sim.audit()[2:] == ["recovery_code", "sign_in", "recovery_code", "sign_in"]

    tell(tmp_path, story)


def test_with_a_clock_that_is_days_behind_recovery_codes_still_work(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        code = sim.code()
        sim.harness.clock.set_wall(sim.harness.clock.wall().unix_ms - 3 * 86_400_000, trusted=False)
        key = await sim.pending_step()
        assert await code_of(sim.accounts.sign_in_staff_code(key, code, "here")) == "wrong_second_factor"
        assert await sim.accounts.sign_in_staff_code(key, sim.codes[0], "here")

    tell(tmp_path, story)


def test_wrong_codes_lock_out_as_wrong_passwords_do_and_the_right_password_forgets_none(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        for _ in range(sign_in.MAX_FAILURES_PER_NAME):
            key = await sim.pending_step()
            assert await code_of(sim.accounts.sign_in_staff_code(key, "000000", "there")) == "wrong_second_factor"
        assert await code_of(sim.accounts.sign_in_staff_code(key, sim.code(), "there")) == "locked_out"
        assert await code_of(sim.accounts.sign_in_staff("office", PASSWORD, "elsewhere")) == "locked_out"
        sim.harness.clock.advance_ns(lockout.LOCKED_NS)
        assert await sim.accounts.sign_in_staff_code(await sim.pending_step(), sim.code(), "here")

    tell(tmp_path, story)


def test_wrong_codes_of_many_names_lock_out_their_address(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        key = await sim.pending_step()
        for number in range(sign_in.MAX_FAILURES_PER_ADDRESS - 1):
            assert await code_of(sim.accounts.sign_in_staff(f"x{number}", "wrong", "there")) == "wrong_card_or_pin"
        assert await code_of(sim.accounts.sign_in_staff_code(key, "000000", "there")) == "wrong_second_factor"
        assert await code_of(sim.accounts.sign_in_staff_code(key, sim.code(), "there")) == "locked_out"

    tell(tmp_path, story)


def test_a_wrong_password_says_nothing_of_a_second_factor(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        for name in ("office", "other", "nobody"):
            assert await code_of(sim.accounts.sign_in_staff(name, "wrong", "here")) == "wrong_card_or_pin"

    tell(tmp_path, story)


def test_the_step_between_ends_after_five_minutes_and_with_a_new_password(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        key = await sim.pending_step()
        sim.harness.clock.advance_ns(sign_in.SECOND_STEP_NS)
        assert await code_of(sim.accounts.sign_in_staff_code(key, sim.code(), "here")) == "expired"
        key = await sim.pending_step()
        await sim.service.property_.staff.new_password(sim.actor, sim.actor.staff.staff_id)
        assert await code_of(sim.accounts.sign_in_staff_code(key, sim.code(), "here")) == "expired"
        assert await code_of(sim.accounts.sign_in_staff_code("made-up", sim.code(), "here")) == "expired"

    tell(tmp_path, story)


@pytest.mark.parametrize("proof", ["password", "code", "recovery"])
def test_it_is_switched_off_with_the_password_or_a_code(tmp_path: Path, proof: str) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        factor = sim.service.property_.second_factor
        assert await code_of(factor.switch_off(sim.actor, "wrong")) == "wrong_second_factor"
        given = {"password": PASSWORD, "code": sim.code(), "recovery": sim.codes[3]}[proof]
        await factor.switch_off(sim.actor, given)
        assert not (await factor.state(sim.actor)).on
        assert isinstance(await sim.accounts.sign_in_staff("office", PASSWORD, "here"), str)
        assert sim.audit()[2:] == ["second_factor_off", "sign_in"]

    tell(tmp_path, story)


def test_guessing_at_switching_it_off_locks_out(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        factor = sim.service.property_.second_factor
        for _ in range(sign_in.MAX_FAILURES_PER_NAME):
            assert await code_of(factor.switch_off(sim.actor, "000000")) == "wrong_second_factor"
        assert await code_of(factor.switch_off(sim.actor, PASSWORD)) == "locked_out"

    tell(tmp_path, story)


def test_beginning_anew_leaves_one_that_is_on_as_it_is(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        factor = sim.service.property_.second_factor
        await factor.begin(sim.actor)
        state = await factor.state(sim.actor)
        assert (state.on, state.secret, state.address) == (True, "", "")
        assert await code_of(factor.confirm(sim.actor, sim.code())) == "expired"
        assert await sim.accounts.sign_in_staff_code(await sim.pending_step(), sim.code(), "here")

    tell(tmp_path, story)


def test_one_that_was_never_confirmed_asks_for_nothing(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        property_ = sim.service.property_
        token = await sim.accounts.sign_in_staff("other", PASSWORD, "here")
        assert isinstance(token, str)
        other = await property_.staff.actor(token, "here")
        await property_.second_factor.begin(other)
        assert await code_of(property_.second_factor.confirm(other, "000000")) == "wrong_second_factor"
        assert not (await property_.second_factor.state(other)).on
        assert isinstance(await sim.accounts.sign_in_staff("other", PASSWORD, "here"), str)
        assert [each.second_factor for each in await property_.staff.everybody(sim.actor)] == [True, False]

    tell(tmp_path, story)


def test_secrets_leave_with_the_login_and_recovery_codes_are_kept_as_hashes(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        with sim.harness.database() as connection:
            kept = [row["code_hash"] for row in connection.execute("SELECT * FROM recovery_code")]
        assert len(kept) == 10
        assert not set(kept) & {code.replace("-", "") for code in sim.codes}
        await sim.service.property_.staff.remove(sim.actor, sim.actor.staff.staff_id)
        with sim.harness.database() as connection:
            assert connection.execute("SELECT count(*) FROM second_factor").fetchone()[0] == 0
            assert connection.execute("SELECT count(*) FROM recovery_code").fetchone()[0] == 0

    tell(tmp_path, story)


def test_the_command_line_switches_it_off_and_says_so_in_the_audit_log(tmp_path: Path) -> None:
    async def story(sim: SecondFactorHarness) -> None:
        with sim.harness.administering() as database:
            admin.switch_off_second_factor(database, sim.harness.clock, "office")
            for name in ("office", "nobody"):
                with pytest.raises(CabinetError):
                    admin.switch_off_second_factor(database, sim.harness.clock, name)
        assert isinstance(await sim.accounts.sign_in_staff("office", PASSWORD, "here"), str)
        assert sim.audit()[2:] == ["second_factor_off", "sign_in"]

    tell(tmp_path, story)
