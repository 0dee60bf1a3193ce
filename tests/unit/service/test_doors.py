"""Every door takes a value in every way that people type it, for the same value; nothing else is merged."""

import io
from pathlib import Path

import openpyxl
import pytest

from cabinet import config as configuration
from cabinet import secret_hash
from cabinet.clock import SystemClock
from cabinet.config.check import parse
from cabinet.errors import CabinetError, ConfigErrors, Refused
from cabinet.main import main
from cabinet.service.accounts import admin, residents_import, wallets
from cabinet.store import residents, staff
from cabinet.store.database import Database
from cabinet.store.ledger_books import balance_fen
from cabinet_testing.service_harness import QUICK, ServiceHarness

RESIDENTS = (
    "card,name,phone,balance\n00012345,王\u3000芳,,20\n6222021234567890123,李\u00a0伟,,0\n"
    "１００２３３４４,欧阳娜娜\u3000,,5\n"
)
SPELLINGS = ["ab-12", "AB-12", "Ab-12", "ａｂ－１２", " ab‑12 ", "AB–12", "\u202aab-12\u202c"]


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_hash, "_dummy_hash", lambda: QUICK.hash("nobody's"))


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    from importlib import resources

    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    path = tmp_path / "cabinet.toml"
    path.write_text(text + f'\n[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"\n', encoding="utf-8")
    return path


@pytest.fixture
def database(config_file: Path):
    database = admin.open_database(configuration.load(config_file))
    yield database
    database.close()


def stored(database: Database, card: str, pin: str = "4711") -> int:
    """Store it as an older version did."""
    with database.transaction() as connection:
        return residents.add(connection, card, "", QUICK.hash(pin), 0)


# --- cards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", SPELLINGS)
def test_a_card_of_before_is_found_in_every_spelling(database: Database, typed: str) -> None:
    stored(database, "ab-12")
    wallets.top_up(database, SystemClock(), typed, 100)
    with pytest.raises(CabinetError, match="card AB-12 is there already"):
        admin.add_resident(database, SystemClock(), typed)
    assert [(each.card, each.balance_fen) for each in admin.list_residents(database)] == [("ab-12", 100)]


async def test_a_phone_that_writes_capital_letters_signs_in_and_locks_out_nobody_else(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        database = Database(admin.database_path(harness.config))
        stored(database, "ab-12")
        stored(database, "ab-13")
        for typed in SPELLINGS:
            await service.accounts.sign_in(typed, "４７ １１", "here")
        for typed in SPELLINGS[:5]:
            with pytest.raises(Refused, match="wrong_card_or_pin"):
                await service.accounts.sign_in(typed, "0000", "elsewhere")
        with pytest.raises(Refused, match="locked_out"):
            await service.accounts.sign_in(SPELLINGS[5], "4711", "elsewhere")
        await service.accounts.sign_in("AB-13", "4711", "elsewhere")
        database.close()


def test_cards_of_before_that_are_alike_stay_two_with_a_wallet_each(
    database: Database, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, capital = stored(database, "ab-12"), stored(database, "AB-12")
    wallets.top_up(database, SystemClock(), "ab-12", 100)
    wallets.top_up(database, SystemClock(), "AB-12", 7)
    with database.reading() as connection:
        assert [balance_fen(connection, f"wallet:{each}") for each in (small, capital)] == [100, 7]
        assert residents.similar_cards(connection) == [["AB-12", "ab-12"]]
    with pytest.raises(CabinetError, match="card Ab-12: there are ab-12 and AB-12: spell it as one"):
        wallets.top_up(database, SystemClock(), "Ab-12", 100)
    with pytest.raises(CabinetError, match="is there already"):
        admin.add_resident(database, SystemClock(), "aB-12")
    admin.block_resident(database, "ab-12", True)
    assert [(each.card, each.blocked) for each in admin.list_residents(database)] == [("AB-12", False), ("ab-12", True)]
    assert main(["resident", "list", "--config", str(config_file)]) == 0
    assert "differ only in capital letters: AB-12, ab-12:" in capsys.readouterr().out


# --- money ------------------------------------------------------------------------------------------------------------


def test_the_same_receipt_typed_in_another_width_moves_money_once(database: Database) -> None:
    stored(database, "2001")
    clock = SystemClock()
    assert wallets.top_up(database, clock, "2001", 100, "R-12") == 100
    assert wallets.top_up(database, clock, "２００１", 100, "Ｒ－１２\u3000") == 100
    with database.transaction() as connection:  # as an older version kept it
        connection.execute("UPDATE ledger_transaction SET key = 'top-up:Ｒ－１３' WHERE key = 'top-up:R-12'")
    assert wallets.top_up(database, clock, "2001", 100, "Ｒ－１３") == 100, "a key of before is found as it was written"


@pytest.mark.parametrize(("typed", "fen"), [("２０．５", 2050), (" 12.50\u3000", 1250)])
def test_an_amount_is_taken_in_any_width(typed: str, fen: int) -> None:
    assert wallets.fen_of_yuan(typed) == fen


@pytest.mark.parametrize("typed", ["5²", "①", "٣", "½", "1,5", "+5", "5-"])
def test_what_only_looks_like_an_amount_is_none(typed: str) -> None:
    with pytest.raises(CabinetError, match="is no amount in yuan"):
        wallets.fen_of_yuan(typed)


def test_a_note_is_cleaned_before_it_is_kept(database: Database) -> None:
    stored(database, "2001")
    wallets.top_up(database, SystemClock(), "2001", 100)
    wallets.pay_out(database, SystemClock(), "2001", 10, None, "\x1b]0;x\x07\x1b[2J \u202emoved\nout")
    notes = [row["note"] for row in database.connection.execute("SELECT note FROM ledger_transaction WHERE note != ''")]
    assert notes == ["\ufffd]0;x\ufffd\ufffd[2J moved out"]
    with pytest.raises(CabinetError, match="needs its reason"):
        wallets.write_off(database, SystemClock(), "2001", 10, None, "\u200b \u3000")
    with pytest.raises(CabinetError, match="a note has at most 200 characters"):
        wallets.pay_out(database, SystemClock(), "2001", 10, None, "x" * 201)
    with pytest.raises(CabinetError, match="a key has at most 100 characters"):
        wallets.pay_out(database, SystemClock(), "2001", 10, "x" * 101)


# --- imports ----------------------------------------------------------------------------------------------------------


def test_a_list_as_others_write_it_is_imported_wholly(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, pins = tmp_path / "residents.csv", tmp_path / "pins.xlsx"
    file.write_text(RESIDENTS, encoding="utf-8")
    words = ["resident", "import", str(file), "--pins", str(pins), "--config", str(config_file)]
    assert main(words) == 0
    assert capsys.readouterr().out == f"3 residents added, with 25.00 yuan together; their PINs are in {pins}\n"
    assert pins.stat().st_mode & 0o777 == 0o600
    titles, *rows = openpyxl.load_workbook(io.BytesIO(pins.read_bytes())).active.iter_rows()
    assert [cell.value for cell in titles] == ["card", "name", "pin"]
    assert [[cell.value for cell in row[:2]] for row in rows] == [
        ["00012345", "王 芳"],
        ["6222021234567890123", "李 伟"],
        ["10023344", "欧阳娜娜"],
    ]
    assert {cell.data_type for row in rows for cell in row} == {"s"}, "text, so that no digit is lost"
    assert {len(row[2].value) for row in rows} == {6}
    main(["resident", "list", "--config", str(config_file)])
    assert "王 芳" in capsys.readouterr().out


@pytest.mark.parametrize(
    "titles", ["卡\u3000号,姓\u3000名", "卡 号 ,\u00a0姓  名", "ＣＡＲＤ,Name\u200b", '"卡\n号",姓\u2003名']
)  # fmt: skip
def test_titles_padded_like_the_names_below_them_are_read(titles: str) -> None:
    rows = residents_import.read_rows("list", f"{titles}\n0001,王\u3000芳\n", ["card"], ["name"])
    assert [row for _, row in rows] == [{"card": "0001", "name": "王 芳"}]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("老王👨\u200d👩\u200d👧", "老王👨\u200d👩\u200d👧"), ("𱍐", "𱍐"), ("\ufeff王芳", "王芳"), ("王\t芳", "王 芳")],
)
def test_a_name_with_what_people_write_is_taken(database: Database, name: str, kept: str) -> None:
    admin.add_resident(database, SystemClock(), "2001", name=name)
    assert [each.name for each in admin.list_residents(database)] == [kept]


def test_a_number_that_a_spreadsheet_has_shortened_says_so(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "residents.csv"
    file.write_text("card\n6.22202E+18\n", encoding="utf-8")
    assert main(["resident", "import", str(file), "--dry-run", "--config", str(config_file)]) == 1
    assert "line 2: card 6.22202E+18: a spreadsheet has shortened the number" in capsys.readouterr().err


# --- logins -----------------------------------------------------------------------------------------------------------


def test_a_login_is_found_however_its_name_is_written(database: Database) -> None:
    admin.add_staff(database, SystemClock(), "Office\u3000East")
    with database.reading() as connection:
        for typed in ("office east", "ＯＦＦＩＣＥ east", " Office  East "):
            assert staff.by_name(connection, typed) is not None
        assert staff.by_name(connection, "office") is None
    with pytest.raises(CabinetError, match="there is a login OFFICE EAST already"):
        admin.add_staff(database, SystemClock(), "OFFICE EAST")
    assert admin.revoke(database, "office east") == ["login"]


# --- configuration ----------------------------------------------------------------------------------------------------


def with_site(config_file: Path, line: str) -> str:
    text = config_file.read_text(encoding="utf-8")
    key = line.partition(" ")[0]
    return "\n".join(line if each.startswith(f"{key} = ") else each for each in text.splitlines())


def test_names_of_the_configuration_have_their_normal_form(config_file: Path) -> None:
    assert parse(with_site(config_file, 'name = "阳光\u3000花园\u00a0"')).site.name == "阳光 花园"
    assert parse(with_site(config_file, 'site_id = "ｄｅｍｏ－９"')).site.site_id == "DEMO-9"


@pytest.mark.parametrize(("line", "sign"), [(r'name = "a\u001b[2J"', "U+001B"), (r'name = "a\u202eb"', "")])
def test_what_acts_in_a_configuration_is_named_or_gone(config_file: Path, line: str, sign: str) -> None:
    """Marks that only turn the writing are left out, as at every door; control characters are a mistake."""
    text = with_site(config_file, line)
    if not sign:
        assert parse(text).site.name == "ab"
        return
    with pytest.raises(ConfigErrors, match=r"site\.name") as wrong:
        parse(text)
    assert sign in str(wrong.value)


def test_a_path_with_what_cannot_be_seen_is_a_mistake(config_file: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"paths\.state: holds what cannot be seen or is no text \(U\+200B\)"):
        parse(config_file.read_text(encoding="utf-8").replace('state = "', 'state = "\u200b'))


# --- what is there is found -------------------------------------------------------------------------------------------


def test_the_newer_schema_finds_cards_by_an_index(database: Database) -> None:
    plan = database.connection.execute(
        "EXPLAIN QUERY PLAN SELECT * FROM resident WHERE card = ? COLLATE NOCASE", ("x",)
    )
    assert "resident_card_spelling" in " ".join(str(row["detail"]) for row in plan)
