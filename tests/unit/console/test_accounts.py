"""Accounts of the console: PINs, locks, and a file that is whole or not there."""

import os
import stat

import argon2
import pytest

from cabinet.clock import NS, ManualClock
from cabinet.console.accounts import FREE_ATTEMPTS, MAX_LOCK_S, MIN_LOCK_S, ConsoleAccounts, Level
from cabinet.errors import CabinetError, Refused

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "console-staff.json"


@pytest.fixture
def staff(path, clock):
    return ConsoleAccounts(path, clock, CHEAP)


def refusal(staff: ConsoleAccounts, name: str, pin: str) -> tuple[str, dict]:
    with pytest.raises(Refused) as caught:
        staff.check(name, pin)
    return caught.value.code, caught.value.params


def wrong(staff: ConsoleAccounts, times: int, name: str = "tech") -> None:
    for _ in range(times):
        assert refusal(staff, name, "wrong") == ("wrong_card_or_pin", {})


def test_first_account_is_made_once_with_a_random_pin(staff, path, clock):
    name, pin = staff.create_first()
    assert (name, len(pin), pin.isdigit()) == ("tech", 6, True)
    assert staff.create_first() is None
    account = ConsoleAccounts(path, clock, CHEAP).check("tech", pin)
    assert (account.name, account.level) == ("tech", Level.SERVICE)


def test_file_holds_no_pin_and_is_its_owners_alone(staff, path):
    _, pin = staff.create_first()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pin not in path.read_text()
    assert "$argon2id$" in path.read_text()
    assert [each.name for each in path.parent.iterdir()] == ["console-staff.json"]


def test_file_that_root_writes_is_given_to_the_console(path, clock, monkeypatch):
    given = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, user, group: given.append((user, group)))
    ConsoleAccounts(path, clock, CHEAP, owner=992).new_pin("tech", Level.SERVICE)
    assert given == [(992, -1)]
    ConsoleAccounts(path, clock, CHEAP).new_pin("tech", Level.SERVICE)
    assert len(given) == 1


def test_new_pin_of_another_process_ends_the_wait_at_once(staff, path, clock):
    staff.set_pin("tech", Level.SERVICE, "123456")
    wrong(staff, FREE_ATTEMPTS)
    assert refusal(staff, "tech", "123456")[0] == "locked_out"
    pin = ConsoleAccounts(path, clock, CHEAP).new_pin("tech", Level.SERVICE)
    assert refusal(staff, "tech", "123456") == ("wrong_card_or_pin", {})
    assert staff.check("tech", pin).failures == 0


def test_removed_account_is_gone_and_the_others_stay(staff):
    staff.set_pin("tech", Level.SERVICE, "123456")
    staff.set_pin("night", Level.LOOK, "123456")
    staff.remove("tech")
    assert refusal(staff, "tech", "123456") == ("wrong_card_or_pin", {})
    assert staff.check("night", "123456").name == "night"
    with pytest.raises(CabinetError, match="no such account; there are: night"):
        staff.remove("tech")


def test_wrong_pin_and_unknown_name_are_refused_alike(staff):
    staff.set_pin("tech", Level.LOOK, "123456")
    assert refusal(staff, "tech", "1") == refusal(staff, "nobody", "1") == ("wrong_card_or_pin", {})


def test_new_pin_replaces_the_old_one_and_keeps_the_other_accounts(staff):
    staff.set_pin("tech", Level.SERVICE, "111111")
    staff.set_pin("night", Level.LOOK, "222222")
    staff.set_pin("tech", Level.OPERATE, "333333")
    wrong(staff, 1)
    assert (staff.check("tech", "333333").level, staff.check("night", "222222").level) == (Level.OPERATE, Level.LOOK)


def test_lock_grows_with_every_wrong_pin_and_the_right_one_does_not_open_it(staff, clock):
    staff.set_pin("tech", Level.SERVICE, "123456")
    wrong(staff, FREE_ATTEMPTS)
    assert refusal(staff, "tech", "123456") == ("locked_out", {"retry_after_s": MIN_LOCK_S})
    clock.advance_ns(MIN_LOCK_S * NS)
    wrong(staff, 1)
    assert refusal(staff, "tech", "123456") == ("locked_out", {"retry_after_s": 2 * MIN_LOCK_S})
    clock.advance_ns(2 * MIN_LOCK_S * NS)
    assert staff.check("tech", "123456").failures == 0
    wrong(staff, FREE_ATTEMPTS - 1)
    assert staff.check("tech", "123456").name == "tech"


def test_lock_has_an_end_however_many_wrong_pins(staff, clock):
    staff.set_pin("tech", Level.SERVICE, "123456")
    wrong(staff, FREE_ATTEMPTS - 1)
    for _ in range(20):
        wrong(staff, 1)
        clock.advance_ns(MAX_LOCK_S * NS)
    assert staff.check("tech", "123456").name == "tech"


def test_power_cycle_starts_the_lock_over(staff, path, clock):
    staff.set_pin("tech", Level.SERVICE, "123456")
    wrong(staff, FREE_ATTEMPTS)
    again = ConsoleAccounts(path, clock, CHEAP)
    assert refusal(again, "tech", "123456")[0] == "locked_out"
    clock.advance_ns(MIN_LOCK_S * NS)
    assert again.check("tech", "123456").name == "tech"


def test_one_account_locked_leaves_the_others_open(staff):
    staff.set_pin("tech", Level.SERVICE, "123456")
    staff.set_pin("night", Level.LOOK, "222222")
    wrong(staff, FREE_ATTEMPTS)
    assert staff.check("night", "222222").name == "night"


def test_language_is_kept(staff, path, clock):
    staff.set_pin("tech", Level.SERVICE, "123456")
    staff.remember("tech", language="en")
    assert ConsoleAccounts(path, clock, CHEAP).check("tech", "123456").language == "en"


@pytest.fixture
def full_disk(monkeypatch):
    """A call that lets the disk take nothing from then on."""

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    return lambda: monkeypatch.setattr("cabinet.system.atomic_file.os.open", refuse)


def test_login_works_when_the_disk_takes_nothing(staff, full_disk, caplog):
    staff.set_pin("tech", Level.SERVICE, "123456")
    full_disk()
    wrong(staff, 1)
    assert staff.check("tech", "123456").name == "tech"
    assert "No space left on device" in caplog.text


def test_lock_works_when_the_disk_takes_nothing(staff, full_disk):
    staff.set_pin("tech", Level.SERVICE, "123456")
    full_disk()
    wrong(staff, FREE_ATTEMPTS)
    assert refusal(staff, "tech", "123456")[0] == "locked_out"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"accounts": [{"name": "tech"}]}', b"\xff"])
def test_damaged_file_is_an_error_that_says_what_to_do(staff, path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CabinetError, match=r"console-staff\.json: cannot be read .*--new-pin NAME$"):
        staff.check("tech", "123456")


@pytest.mark.parametrize("name", ["", "Tech", "1a", "a b", "a" * 33, "ä"])
def test_account_names_are_plain(staff, name, path):
    with pytest.raises(CabinetError, match="is no account name"):
        staff.set_pin(name, Level.LOOK, "123456")
    assert not path.exists()
