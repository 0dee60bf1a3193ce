"""Staff and money, through the commands they type: nothing moves twice, from nowhere, or half-way."""

import asyncio
import functools
import stat
import tempfile
from pathlib import Path

import pytest

from cabinet.main import main
from cabinet.model import EndReason
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet_testing.service_harness import CARDS, FULL, ServiceHarness

CARD = CARDS[0]
ORDER = "DEMO-1-00000001"


@functools.cache
def charged() -> bytes:
    """A database with one settled charge of resident 1: 20 yuan, less what an hour at 200 W costs."""
    with tempfile.TemporaryDirectory() as folder:
        harness = ServiceHarness(Path(folder))

        async def story() -> None:
            async with harness.running() as service:
                await _hour(harness, service)

        asyncio.run(story())
        return admin.database_path(harness.config).read_bytes()


@pytest.fixture
def harness(tmp_path: Path) -> ServiceHarness:
    harness = ServiceHarness(tmp_path)
    admin.database_path(harness.config).write_bytes(charged())
    return harness


async def _hour(harness: ServiceHarness, service: Service) -> None:
    await service.start(1, "C5T4", FULL, "k")
    await harness.charge(service, 3, 3600, 200_000)
    harness.guard.end(3, EndReason.FULL)
    await harness.settle(service)


@pytest.fixture
def cabinet(harness: ServiceHarness, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from importlib import resources

    config = tmp_path / "cabinet.toml"
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    config.write_text(text + f'\n[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"\n', encoding="utf-8")

    def run(*words: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main([*words, "--config", str(config)]) == status
        printed = capsys.readouterr()
        harness.check_books()
        return printed.out + printed.err

    return run


def test_balances_add_up_to_nothing(cabinet) -> None:
    lines = [line.rsplit(maxsplit=1) for line in cabinet("ledger", "balance").splitlines()]
    found = {name.strip(): yuan for name, yuan in lines}
    assert found == {
        "wallets, free to spend": "59.57",
        "held for running charges": "0.00",
        "revenue, electricity": "0.10",
        "revenue, service": "0.33",
        "written off": "0.00",
        "cash taken in, less paid out": "-60.00",
        "all together": "0.00",
    }


def test_statement_tells_every_movement_and_the_balance_after_it(cabinet) -> None:
    lines = [line.split() for line in cabinet("ledger", "statement", CARD).splitlines()]
    assert [(words[2], words[3], words[4]) for words in lines] == [
        ("+20.00", "20.00", "top_up"),
        ("-5.00", "15.00", "hold"),
        ("+4.57", "19.57", "settle"),
    ]


def test_statement_of_some_days_begins_with_what_was_there(cabinet) -> None:
    cabinet("resident", "top-up", CARD, "1")
    (line,) = cabinet("ledger", "statement", CARD, "--from", "2026-06-01").splitlines()
    assert line.split()[2:5] == ["+1.00", "20.57", "top_up"]
    assert len(cabinet("ledger", "statement", CARD, "--to", "2026-05-31").splitlines()) == 3


def test_give_back_returns_service_first_and_never_more_than_was_charged(cabinet) -> None:
    words = ("ledger", "give-back", ORDER)
    said = cabinet(*words, "0.36", "--note", "noise", "--key", "c1")
    assert said == f"{ORDER}: 0.36 yuan given back, balance 19.93 yuan\n"
    assert "balance 19.93 yuan" in cabinet(*words, "0.36", "--note", "noise", "--key", "c1"), "once"
    said = cabinet(*words, "0.08", "--note", "again", "--key", "c2", status=1)
    assert said == f"{ORDER} cost 0.43 yuan, of which 0.07 were kept\n"
    assert "revenue, electricity                   0.07" in cabinet("ledger", "balance")
    assert "balance 20.00 yuan" in cabinet(*words, "0.07", "--note", "again", "--key", "c2")
    found = cabinet("ledger", "balance")
    assert "revenue, electricity                   0.00" in found
    assert "revenue, service                       0.00" in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("give-back", "DEMO-1-00000009", "1", "--note", "x"), "there is no settled charge with order number"),
        (("give-back", ORDER, "0.10"), "money that is given back needs its reason: --note"),
        (("give-back", ORDER, "0", "--note", "x"), "what is given back is above 0 yuan"),
        (("pay-out", CARD, "19.58"), "wallet:1 holds 1957 fen, 1958 are wanted"),
        (("pay-out", "nobody", "1"), "there is no card nobody"),
        (("pay-out", CARD, "ten"), "'ten' is no amount in yuan"),
        (("write-off", CARD, "1"), "a write-off needs its reason: --note"),
    ],
)
def test_what_cannot_be_moves_nothing(cabinet, harness: ServiceHarness, words: tuple[str, ...], said: str) -> None:
    assert cabinet("ledger", *words, status=1).startswith(said)
    assert harness.balance_fen("wallet:1") == 1957


def test_pay_out_and_write_off_empty_a_wallet(cabinet, harness: ServiceHarness) -> None:
    assert cabinet("ledger", "pay-out", CARD, "19", "--key", "p1") == f"card {CARD}: balance 0.57 yuan\n"
    assert cabinet("ledger", "pay-out", CARD, "19", "--key", "p1") == f"card {CARD}: balance 0.57 yuan\n"
    cabinet("ledger", "write-off", CARD, "0.57", "--note", "moved away")
    assert (harness.balance_fen("wallet:1"), harness.balance_fen("written_off"), harness.balance_fen("cash")) == (
        0,
        57,
        -4100,
    )
    assert "(moved away)" in cabinet("ledger", "statement", CARD)


def test_month_for_the_accountant_has_every_posting_and_adds_up_to_nothing(cabinet) -> None:
    import csv

    text = cabinet("ledger", "export", "--month", "2026-05")
    assert text.startswith("\ufeff流水号,时间,时钟已校准,业务,科目,卡号,订单号,借方（元）,贷方（元）,备注,凭证号")
    *rows, total = list(csv.DictReader(text.removeprefix("\ufeff").splitlines()))
    assert {row["业务"] for row in rows} == {"充值", "充电预付", "充电结算"}
    assert {row["订单号"] for row in rows if row["业务"] != "充值"} == {"DEMO-1-00000001"}
    debits, credits = (sum(round(100 * float(row[side] or 0)) for row in rows) for side in ("借方（元）", "贷方（元）"))
    assert debits == credits == round(100 * float(total["借方（元）"])) == round(100 * float(total["贷方（元）"]))
    assert all(bool(row["借方（元）"]) != bool(row["贷方（元）"]) for row in rows)
    assert {row["借方（元）"] != "" for row in rows if row["科目"] == "现金"} == {True}, "taken in: cash is debited"
    assert CARD in {row["卡号"] for row in rows if row["科目"] == "居民余额"}
    english = cabinet("ledger", "export", "--month", "2026-05", "--lang", "en")
    assert english.startswith("\ufefftransaction,time,")
    empty = cabinet("ledger", "export", "--month", "2026-04").splitlines()
    assert empty[1:] == ["合计,,,,,,,0.00,0.00,,"]


def test_check_finds_a_balance_that_was_written_by_hand(cabinet, harness: ServiceHarness, tmp_path: Path) -> None:
    import sqlite3

    assert cabinet("ledger", "check").startswith("OK: every transaction balances")
    connection = sqlite3.connect(tmp_path / "state" / "cabinet.db")
    with connection:
        connection.execute("UPDATE account SET balance_fen = balance_fen + 100 WHERE name = 'wallet:1'")
    connection.close()
    harness.check_books = lambda: None  # type: ignore[method-assign]
    said = cabinet("ledger", "check", status=1)
    assert said == "account wallet:1: balance 2057 fen, its postings add up to 1957\n"


# --- imports ---------------------------------------------------------------------------------------------------------

CHINESE = "卡号,姓名,分组,余额\r\n2001,王芳,staff,20\r\n2002,李明,,12.5\r\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_residents_come_from_a_spreadsheet_however_it_was_saved(cabinet, tmp_path, encoding, delimiter) -> None:
    file, pins = tmp_path / "new.csv", tmp_path / "pins.csv"
    file.write_bytes(CHINESE.replace(",", delimiter).encode(encoding))
    dry = cabinet("resident", "import", str(file), "--dry-run")
    assert dry == "2 residents would be added, with 32.50 yuan together; nothing was changed\n"
    assert "2001" not in cabinet("resident", "list")
    cabinet("resident", "import", str(file), "--pins", str(pins))
    assert stat.S_IMODE(pins.stat().st_mode) == 0o600
    rows = [line.split(",") for line in pins.read_text(encoding="utf-8-sig").splitlines()]
    assert [row[:2] for row in rows] == [["card", "name"], ["2001", "王芳"], ["2002", "李明"]]
    assert all(row[2].isdigit() and len(row[2]) == 6 for row in rows[1:])
    listed = cabinet("resident", "list")
    assert "王芳 [staff]" in listed
    assert "12.50" in listed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the column card or 卡号 is missing"),
        ("card\n", "line 1: nothing follows the row of titles"),
        ("name\nA\n", "line 1: the column card or 卡号 is missing"),
        ("card,colour\n2001,red\n", "line 1: there is no column 'colour'"),
        ("card\n2001\n1\n2002\n2001\n", "line 3: card '1': 4 to 32 letters"),
        ("card\n2001\n\n2001\n", "line 4: card 2001 is in line 2 already"),
        (f"card\n{CARD}\n", f"line 2: card {CARD} is there already"),
        ("card,balance\n2001,-5\n", "line 2: '-5' is no amount in yuan"),
        ("card,pin\n2001,12\n", "line 2: a PIN has 6 to 12 digits, not all the same and not in a row such as 123456"),
        ("card,card\n2001,2002\n", "line 1: the column card or 卡号 is there twice"),
        ("name,card\n王芳\n", "line 2: card '': 4 to 32 letters"),
        ('card,name\n2001,"王\n', "line 2: is no CSV: unexpected end of data"),
        ("card,name\n2001," + 200_000 * "x" + "\n", "line 2: is no CSV: field larger than field limit"),
        ("card,name\n2001,\x1b[2J\n", "line 2: a name has at most 40 characters, and all of them can be printed"),
        ("card,balance\n2001,1e9\n", "line 2: '1e9' is no amount in yuan"),
        ("card,balance\n2001,99999999999\n", "line 2: '99999999999' is no amount in yuan"),
        ("card,balance\n2001,NaN\n", "line 2: 'NaN' is no amount in yuan"),
        ("card,balance\n2001,=1+1\n", "line 2: '=1+1' is no amount in yuan"),
        ("card\n2001\x00\n", "line 2: "),
        ("card,group\n2001,My Group\n", "line 2: group 'My Group': at most 20 small letters"),
        ("card\n2001,2\n", "line 2: has more cells than there are columns"),
    ],
)
def test_file_with_a_mistake_imports_nothing(cabinet, tmp_path, text, said) -> None:
    file = tmp_path / "new.csv"
    file.write_text(text, encoding="utf-8")
    printed = cabinet("resident", "import", str(file), "--pins", str(tmp_path / "pins.csv"), status=1)
    assert printed.startswith(f"{file}, {said}")
    assert not (tmp_path / "pins.csv").exists()
    assert "2001" not in cabinet("resident", "list")


def test_pins_are_never_lost_nor_written_over(cabinet, tmp_path) -> None:
    file, pins = tmp_path / "new.csv", tmp_path / "pins.csv"
    file.write_text("card\n2001\n", encoding="utf-8")
    assert cabinet("resident", "import", str(file), status=1).startswith("give --pins FILE: the PINs are not stored")
    pins.write_text("precious", encoding="utf-8")
    said = cabinet("resident", "import", str(file), "--pins", str(pins), status=1)
    assert said == f"{pins} is there already: it would be overwritten\n"
    assert pins.read_text(encoding="utf-8") == "precious"
    assert "2001" not in cabinet("resident", "list")


def test_top_ups_of_a_file_are_made_once_however_often_it_is_imported(
    cabinet, harness: ServiceHarness, tmp_path
) -> None:
    file = tmp_path / "november.csv"
    file.write_text(f"卡号,金额,凭证号\n{CARD},10,r1\n{CARDS[1]},5.5,r2\n", encoding="utf-8")
    words = ("resident", "import-top-ups", str(file))
    assert cabinet(*words, "--dry-run") == "2 top-ups would be made, 15.50 yuan together; nothing was changed\n"
    assert cabinet(*words) == "2 top-ups made, 15.50 yuan together\n"
    file.write_text(file.read_text(encoding="utf-8") + f"{CARD},1,r3\n", encoding="utf-8")
    assert cabinet(*words) == "1 top-ups made, 1.00 yuan together, 2 were made before\n"
    assert harness.balance_fen("wallet:1") == 1957 + 1100


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (f"{CARD},10,", "line 3: without a key"),
        (f"{CARD},0,r2", "line 3: a top-up is above 0 yuan"),
        ("nobody,10,r2", "line 3: there is no card nobody"),
        (f"{CARD},10,r1", "line 3: key r1 is in line 2 already"),
        (f"{CARD},11,old", "line 3: key old was used for another top-up: another card or amount"),
        (f"{CARDS[1]},10,old", "line 3: key old was used for another top-up: another card or amount"),
    ],
)
def test_one_bad_row_makes_no_top_up_of_the_file(cabinet, harness: ServiceHarness, tmp_path, row, said) -> None:
    cabinet("resident", "top-up", CARD, "10", "--key", "old")
    file = tmp_path / "november.csv"
    file.write_text(f"card,amount,key\n{CARD},10,r1\n{row}\n", encoding="utf-8")
    assert cabinet("resident", "import-top-ups", str(file), status=1).startswith(f"{file}, {said}")
    assert harness.balance_fen("wallet:1") == 2957


def test_spreadsheet_that_leaves_cells_out_or_adds_empty_ones_is_read(cabinet, tmp_path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("card,name,group,balance,,\r\n2001\r\n2002,李明,staff,3,,\r\n", encoding="utf-8")
    assert cabinet("resident", "import", str(file), "--dry-run").startswith(
        "2 residents would be added, with 3.00 yuan"
    )
