"""Typed commands: resident, staff and usage, through the `cabinet` command itself."""

import asyncio
import base64
import contextlib
import csv
import io
import json
import re
import sqlite3
from pathlib import Path

import msgspec
import pytest
from nacl.signing import SigningKey

from cabinet import config as configuration
from cabinet.clock import ManualClock
from cabinet.link.uplink_protocol import FleetKeys, TrustedKey, keys_file, write_keys
from cabinet.main import main
from cabinet.model import EndReason
from cabinet.records import UsageHead
from cabinet.service.accounts import admin, wallets
from cabinet.service.ports import Unclosed
from cabinet.store import month_closing, second_factors, staff
from cabinet.store.database import Database
from cabinet.uplink.anchors import Anchor, sign_anchor
from cabinet.uplink.orders import key_id
from cabinet_testing.service_harness import CARDS, FULL, NOON_MS, ServiceHarness

TOO_WEAK = "a PIN has 6 to 12 digits, not all the same and not in a row such as 123456"


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration file for the folder that a `ServiceHarness` uses."""
    from importlib import resources

    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    path = tmp_path / "cabinet.toml"
    path.write_text(text + f'\n[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"\n', encoding="utf-8")
    return path


class Cabinet:
    """Runs commands and keeps what they print."""

    def __init__(self, config: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.config = config
        self.capture = capture

    def __call__(self, *words: str, status: int = 0) -> str:
        self.capture.readouterr()
        assert main([*words, "--config", str(self.config)]) == status
        printed = self.capture.readouterr()
        if status:
            assert printed.out == ""
            assert printed.err.count("\n") == 1, "an error is one line"
        return printed.out + printed.err


@pytest.fixture
def cabinet(config_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cabinet:
    """A cabinet in the month of the charges, whatever the present month is."""
    monkeypatch.setattr("cabinet.commands.usage.SystemClock", lambda: ManualClock(unix_ms=NOON_MS))
    return Cabinet(config_file, capsys)


def test_a_guest_code_is_printed_once_and_the_guest_is_in_the_list(cabinet: Cabinet) -> None:
    printed = cabinet("resident", "guest", "--balance", "10.50")
    found = re.fullmatch(
        r"guest code (\d{4}) (\d{3}) (\d{3}), good once within 24 h, balance 10\.50 yuan;"
        r" in the list as card (guest-[0-9a-f]{8})\n",
        printed,
    )
    assert found is not None
    assert re.search(rf"{found[4]} +10\.50", cabinet("resident", "list"))
    assert "above 0 yuan" in cabinet("resident", "guest", "--balance", "0", status=1)


@pytest.fixture
def with_two_charges(tmp_path: Path) -> None:
    """Two records: one of May 29, one of May 30 (site's time)."""

    async def story() -> None:
        harness = ServiceHarness(tmp_path)
        async with harness.running() as service:
            for number, reason in enumerate((EndReason.FULL, EndReason.STOPPED_BY_RESIDENT)):
                harness.clock.set_wall(NOON_MS + number * 86_400_000, trusted=True)
                await service.charges.start(1, "C5T4", FULL, f"k{number}")
                await harness.charge(service, 3, 300)
                harness.guard.end(3, reason)
                await harness.settle(service)

    asyncio.run(story())


def test_a_resident_is_added_topped_up_and_listed(cabinet: Cabinet) -> None:
    added = cabinet("resident", "add", "10023344", "--name", "王芳", "--balance", "20")
    assert re.fullmatch(r"card 10023344, PIN \d{6}, balance 20\.00 yuan\n", added)
    assert cabinet("resident", "top-up", "10023344", "12.5") == "card 10023344: balance 32.50 yuan\n"
    assert cabinet("resident", "block", "10023344") == "card 10023344: blocked\n"
    assert cabinet("resident", "list").splitlines()[1] == f"10023344 {'32.50':>22} {'0.00':>8}  王芳 (blocked)"
    assert cabinet("resident", "unblock", "10023344") == "card 10023344: unblocked\n"


def test_the_same_receipt_tops_up_once(cabinet: Cabinet) -> None:
    cabinet("resident", "add", "10023344")
    for _ in range(2):
        assert cabinet("resident", "top-up", "10023344", "50", "--key", "r-1") == "card 10023344: balance 50.00 yuan\n"
    assert "already used for a different" in cabinet("resident", "top-up", "10023344", "51", "--key", "r-1", status=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "123"], "card '123': 4 to 32 letters, digits or hyphens"),
        (["add", "10023344"], "card 10023344 is there already"),
        (["add", "10023345", "--pin", "12"], TOO_WEAK),
        (["add", "10023345", "--pin", "111111"], TOO_WEAK),
        (["pin", "10023344", "--pin", "987654"], TOO_WEAK),
        (["add", "10023345", "--balance", "1.234"], "'1.234' is no amount in yuan, such as 20 or 12.50"),
        (["add", "10023345", "--balance", "-5"], "'-5' is no amount in yuan, such as 20 or 12.50"),
        (["top-up", "99999999", "5"], "there is no card 99999999"),
        (["top-up", "10023344", "0"], "a top-up is above 0 yuan"),
        (["block", "99999999"], "there is no card 99999999"),
        (["pin", "99999999"], "there is no card 99999999"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(cabinet: Cabinet, words: list[str], message: str) -> None:
    cabinet("resident", "add", "10023344", "--balance", "3")
    before = cabinet("resident", "list")
    assert cabinet("resident", *words, status=1) == message + "\n"
    assert cabinet("resident", "list") == before


def test_a_new_pin_replaces_the_old_one(cabinet: Cabinet) -> None:
    cabinet("resident", "add", "10023344", "--pin", "471108")
    assert cabinet("resident", "pin", "10023344", "--pin", "081547") == "card 10023344, PIN 081547\n"
    assert re.fullmatch(r"card 10023344, PIN \d{6}\n", cabinet("resident", "pin", "10023344"))


def test_two_step_sign_in_is_switched_off_for_a_lost_phone(cabinet: Cabinet, config_file: Path) -> None:
    cabinet("staff", "add", "office")
    database = Database(admin.database_path(configuration.load(config_file)))
    with database.transaction() as connection:
        row = staff.by_name(connection, "office")
        assert row is not None
        second_factors.begin(connection, row.id, b"12345678901234567890")
        second_factors.confirm(connection, row.id)
    database.close()
    assert cabinet("staff", "one-step", "office") == "office: signs in with the password alone now\n"
    already = "login office signs in without a second factor already\n"
    assert cabinet("staff", "one-step", "office", status=1) == already
    assert cabinet("staff", "one-step", "nobody", status=1) == "there is no login nobody\n"


def test_staff_and_tokens_are_added_listed_and_revoked(cabinet: Cabinet) -> None:
    assert re.fullmatch(r"login office, password \S{16}\n", cabinet("staff", "add", "office"))
    token = cabinet("staff", "token", "accounting", "--scope", "usage:read")
    assert re.fullmatch(r"token for accounting \(usage:read\): \S{43}\n", token)
    assert cabinet("staff", "list") == "login  office, operator\ntoken  accounting (usage:read), 365 days left\n"
    assert cabinet("staff", "revoke", "accounting") == "accounting: token removed\n"
    assert cabinet("staff", "revoke", "accounting", status=1) == "there is no login and no token called accounting\n"
    assert cabinet("staff", "add", "office", status=1) == "there is a login office already\n"
    cabinet("staff", "add", "accounts", "--role", "accountant")
    assert "login  accounts, accountant\n" in cabinet("staff", "list")


def test_secrets_are_not_in_the_file(cabinet: Cabinet, tmp_path: Path) -> None:
    password = cabinet("staff", "add", "office").split()[-1]
    token = cabinet("staff", "token", "accounting", "--scope", "usage:read").split()[-1]
    stored = (tmp_path / "state" / "cabinet.db").read_bytes()
    assert password.encode() not in stored
    assert token.encode() not in stored


@pytest.mark.usefixtures("with_two_charges")
def test_export_is_a_table_for_a_chinese_spreadsheet(cabinet: Cabinet, tmp_path: Path) -> None:
    output = tmp_path / "usage.csv"
    cabinet("usage", "export", "--output", str(output))
    raw = output.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    header, first, second = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"))))
    assert header[:4] == ["序号", "订单号", "站点", "插座"]
    assert first[:6] == ["1", "DEMO-1-00000001", "DEMO-1", "3", "****0001", "2026-05-29 12:00:00+08:00"]
    assert second[0] == "2"
    assert len({len(header), len(first), len(second)}) == 1
    assert not (tmp_path / "usage.csv.part").exists()


@pytest.mark.usefixtures("with_two_charges")
def test_export_by_day_includes_both_days_named(cabinet: Cabinet) -> None:
    def numbers(*words: str) -> list[int]:
        lines = cabinet("usage", "export", "--format", "jsonl", *words).splitlines()
        return [json.loads(line)["number"] for line in lines]

    assert numbers() == [1, 2]
    assert numbers("--from", "2026-05-30") == [2]
    assert numbers("--to", "2026-05-29") == [1]
    assert numbers("--from", "2026-05-29", "--to", "2026-05-30") == [1, 2]
    assert numbers("--from", "2026-06-01") == []


@pytest.mark.usefixtures("with_two_charges")
def test_verify_says_ok_or_names_the_first_bad_record(cabinet: Cabinet, tmp_path: Path) -> None:
    assert cabinet("usage", "verify") == "OK: 2 records, unbroken\n"
    connection = sqlite3.connect(tmp_path / "state" / "cabinet.db")
    connection.execute("DROP TRIGGER usage_stays")
    connection.execute("UPDATE usage_record SET body = replace(body, '\"outlet\":3', '\"outlet\":4') WHERE number = 1")
    connection.commit()
    connection.close()
    assert cabinet("usage", "verify", status=1) == (
        "record 1 is not as it was written: edited: its contents do not give its hash\n"
    )


@pytest.mark.usefixtures("with_two_charges")
def test_verify_against_a_kept_table_names_a_figure_that_was_changed_in_it(cabinet: Cabinet, tmp_path: Path) -> None:
    kept = tmp_path / "kept.csv"
    cabinet("usage", "export", "--output", str(kept))
    assert cabinet("usage", "verify", "--export", str(kept)) == (
        "OK: 2 records, unbroken, 2 kept records are as they were\n"
    )
    first = kept.read_text(encoding="utf-8").splitlines()[1].split(",")
    changed = [*first[:3], "9", *first[4:]]  # its outlet
    kept.write_text(kept.read_text(encoding="utf-8").replace(",".join(first), ",".join(changed)), encoding="utf-8")
    assert cabinet("usage", "verify", "--export", str(kept), status=1) == (
        f"{kept}, row 2: record 1 has its hash, but '9' as Outlet, where the log has {first[3]}: the file was changed,"
        " take another copy of the export\n"
    )


def test_without_a_log_that_is_said(cabinet: Cabinet, tmp_path: Path) -> None:
    path = tmp_path / "state" / "cabinet.db"
    message = f"{path}: there is no usage log yet; has `cabinet serve` run with this configuration?\n"
    assert cabinet("usage", "verify", status=1) == message
    assert not path.exists(), "looking creates nothing"


def test_a_file_that_cannot_be_written_is_one_line(cabinet: Cabinet, tmp_path: Path) -> None:
    cabinet("resident", "list")
    assert cabinet("usage", "export", "--output", str(tmp_path / "no" / "x.csv"), status=1).endswith(
        "No such file or directory\n"
    )


@pytest.mark.parametrize(
    ("text", "fen"), [("20", 2000), ("0.5", 50), ("12.05", 1205), ("0", 0), ("9999999.99", 999_999_999)]
)
def test_yuan_are_read_exactly(text: str, fen: int) -> None:
    assert wallets.fen_of_yuan(text) == fen


@pytest.mark.parametrize("command", ["serve", "resident", "staff", "usage"])
def test_help_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"cabinet {command}" in capsys.readouterr().out.split("examples:")[1]


def test_closing_of_a_month_is_listed_and_proves_the_log(
    cabinet: Cabinet, with_two_charges: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = ManualClock(unix_ms=NOON_MS + 10 * 86_400_000, trusted=False)
    monkeypatch.setattr("cabinet.commands.usage.SystemClock", lambda: now)

    async def next_month() -> None:
        harness = ServiceHarness(tmp_path)
        path = admin.database_path(harness.config)
        path.write_bytes(kept)
        harness.clock.set_wall(NOON_MS + 10 * 86_400_000, trusted=False)
        async with harness.running() as service:
            await service.housekeeping.close_month()
            assert service.context.unclosed == Unclosed("2026-05", "clock"), "not while the clock may be wrong"
            assert cabinet("usage", "closings") == (
                "2026-05 is not closed yet: the clock is not synchronised (timedatectl), so which month it is"
                " may be wrong\n"
            )
            now.set_wall(NOON_MS + 10 * 86_400_000, trusted=True)
            assert cabinet("usage", "closings").startswith("2026-05 is not closed yet: the service does so within")
            harness.clock.set_wall(NOON_MS + 10 * 86_400_000, trusted=True)
            await service.housekeeping.close_month()
            await service.housekeeping.close_month()
            assert service.context.unclosed is None

    kept = (tmp_path / "state" / "cabinet.db").read_bytes()
    asyncio.run(next_month())
    (line,) = cabinet("usage", "closings").splitlines()
    closing = json.loads(line)["closing"]
    assert (closing["month"], closing["first_number"], closing["last_number"]) == ("2026-05", 1, 2)
    key = cabinet("usage", "key").strip()
    assert closing["key"] == key
    assert cabinet("usage", "verify") == "OK: 2 records, unbroken, 1 closings hold\n"
    file = tmp_path / "closings.jsonl"
    file.write_text(line, encoding="utf-8")
    assert cabinet("usage", "verify", "--key", key, "--closings", str(file)).endswith("2 closings hold\n")
    file.write_text(line.replace('"service_fen":', '"service_fen":1'), encoding="utf-8")
    said = cabinet("usage", "verify", "--key", key, "--closings", str(file), status=1)
    assert said == "closing of 2026-05: its signature is not of this key\n"
    file.write_text("{}", encoding="utf-8")
    assert "is no list of closings" in cabinet("usage", "verify", "--closings", str(file), status=1)


def cut_off(state: Path, number: int) -> None:
    """Remove the records from `number` on, the head and their closings, as an intruder with write access would."""
    with contextlib.closing(sqlite3.connect(state / "cabinet.db")) as connection, connection:
        for trigger in ("usage_kept", "closing_kept"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("DELETE FROM usage_record WHERE number >= ?", (number,))
        connection.execute(
            "UPDATE usage_head SET (number, record_hash) = (SELECT number, record_hash FROM usage_record"
            " ORDER BY number DESC LIMIT 1)"
        )


def test_a_receipts_hash_is_its_records(harness: ServiceHarness, cabinet: Cabinet) -> None:
    async def story() -> tuple[str | None, str | None]:
        async with harness.running() as service:
            begun = await service.charges.start(1, "C5T4", FULL, "key-1")
            before = (await service.charges.session(1, begun.session_id)).record_hash
            await harness.charge(service, 3, 300)
            harness.guard.end(3, EndReason.FULL)
            await harness.settle(service)
            return before, (await service.charges.session(1, begun.session_id)).record_hash

    before, after = asyncio.run(story())
    record = json.loads(cabinet("usage", "export", "--format", "jsonl"))
    assert (before, after) == (None, record["record_hash"])


@pytest.mark.usefixtures("with_two_charges")
def test_an_end_that_was_cut_off_is_found_by_head_receipt_and_export(cabinet: Cabinet, tmp_path: Path) -> None:
    heads = cabinet("usage", "heads")
    rows = [json.loads(line) for line in heads.splitlines()]
    assert [(row["day"], row["site_id"], row["number"]) for row in rows] == [
        ("2026-05-29", "DEMO-1", 1),
        ("2026-05-30", "DEMO-1", 2),
    ]
    assert cabinet("usage", "heads", "--from", "２０２６-05-30").splitlines() == heads.splitlines()[1:]
    kept, export = tmp_path / "heads.jsonl", tmp_path / "kept.xlsx"
    kept.write_text(heads, encoding="utf-8")
    cabinet("usage", "export", "--format", "xlsx", "--output", str(export))
    record = json.loads(cabinet("usage", "export", "--format", "jsonl").splitlines()[1])
    spaced = " ".join(record["record_hash"][start : start + 16] for start in range(0, 64, 16))
    everything = ("--heads", str(kept), "--export", str(export), "--receipt", record["order_number"].lower(), spaced)
    assert cabinet("usage", "verify", *everything) == "OK: 2 records, unbroken, 5 kept records are as they were\n"
    assert "is no hash: it has 64 digits" in cabinet("usage", "verify", "--receipt", "2", "3f1c", status=1)
    assert "was kept with hash 0000000000000000…" in cabinet("usage", "verify", "--receipt", "2", "0" * 64, status=1)
    cut_off(tmp_path / "state", 2)
    assert cabinet("usage", "verify") == "OK: 1 records, unbroken\n", "by itself the log cannot show it"
    for options in (("--heads", str(kept)), ("--export", str(export)), ("--receipt", "2", spaced)):
        said = cabinet("usage", "verify", *options, status=1)
        assert "record 2 was kept and is missing here, where the log ends with 1" in said
    said = cabinet("usage", "verify", "--receipt", record["order_number"], spaced, status=1)
    assert said.startswith(f"the log here has no order {record['order_number']}")


@pytest.mark.usefixtures("with_two_charges")
def test_heads_that_the_fleet_signed_show_a_log_that_was_cut_off(cabinet: Cabinet, tmp_path: Path) -> None:
    heads = [msgspec.json.decode(line, type=UsageHead) for line in cabinet("usage", "heads").splitlines()]
    key, anchor = SigningKey(bytes(range(32))), tmp_path / "anchor.json"
    anchor.write_bytes(sign_anchor(key, Anchor("c-one", 1_780_000_000_000, heads)))
    verify = ("usage", "verify", "--anchor", str(anchor))
    assert "is not enrolled at a fleet" in cabinet(*verify, status=1)
    keys = keys_file(tmp_path / "state")
    keys.parent.mkdir(parents=True, exist_ok=True)
    public = base64.b64encode(bytes(key.verify_key)).decode()
    write_keys(keys, FleetKeys("c-one", [TrustedKey(key_id(key.verify_key), public)]))
    assert cabinet(*verify) == "OK: 2 records, unbroken, 2 kept records are as they were\n"
    cut_off(tmp_path / "state", 2)
    assert "record 2 was kept and is missing here" in cabinet(*verify, status=1)
    anchor.write_bytes(anchor.read_bytes().replace(b"2026-05-30", b"2026-05-31"))
    assert "the signature does not match" in cabinet(*verify, status=1)


@pytest.mark.usefixtures("with_two_charges")
def test_another_key_than_the_one_kept_is_found_before_it_signs_anything(cabinet: Cabinet, tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys" / "usage.key"
    key = month_closing.public(month_closing.load_key(path, make=True))
    assert cabinet("usage", "verify", "--key", key) == "OK: 2 records, unbroken\n"
    path.write_bytes(bytes(32))
    other = cabinet("usage", "key").strip()
    said = cabinet("usage", "verify", "--key", key, status=1)
    assert said.startswith(f"this cabinet signs with another key than the one kept: {other} in {path}, kept {key}: ")


def test_erased_resident_leaves_charges_that_lead_to_nobody(
    cabinet: Cabinet, with_two_charges: None, tmp_path: Path
) -> None:
    card = CARDS[0]
    assert cabinet("resident", "erase", card, status=1).startswith(f"card {card}: ")
    balance = next(line.split()[1] for line in cabinet("resident", "list").splitlines() if card in line)
    cabinet("ledger", "pay-out", card, balance)
    assert cabinet("resident", "erase", card) == f"card {card}: erased\n"
    assert cabinet("usage", "verify") == "OK: 2 records, unbroken\n"
    assert card not in cabinet("resident", "list")
    rows = [json.loads(line) for line in cabinet("usage", "export", "--format", "jsonl").splitlines()]
    assert [row["card"] for row in rows] == ["", ""]
    assert card.encode() not in (tmp_path / "state" / "cabinet.db").read_bytes(), "nor in the file's free pages"
