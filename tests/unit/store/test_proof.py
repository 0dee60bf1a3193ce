"""The usage log against what was kept elsewhere: nothing that was changed, cut off or made again goes unseen."""

import json
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from cabinet import config as configuration
from cabinet.clock import WallTime
from cabinet.config import Config
from cabinet.errors import CabinetError
from cabinet.records import SignedClosing, UsageFilter, UsageRecord
from cabinet.reports import kept, usage_csv, usage_xlsx
from cabinet.store import month_closing, proof, usage
from cabinet.store.database import Database
from cabinet_testing.usage_records import record, rewrite

SHANGHAI = zoneinfo.ZoneInfo("Asia/Shanghai")
DAY_MS = 86_400_000
NIGHT_MS = 1_780_000_000_000 // DAY_MS * DAY_MS + 15 * 3_600_000  # 23:00 in Shanghai


def log_of(path: Path, *sessions: str) -> Database:
    database = Database(path)
    with database.transaction() as connection:
        for place, session in enumerate(sessions):
            ended = WallTime(NIGHT_MS + place * DAY_MS // 12, True)  # 23:00, 01:00, 03:00
            usage.append(connection, msgspec.structs.replace(record(session), ended=ended))
        for trigger in ("usage_stays", "usage_kept", "closing_kept"):
            connection.execute(f"DROP TRIGGER {trigger}")
    return database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = log_of(tmp_path / "cabinet.db", "s1", "s2", "s3")
    yield database
    database.close()


@pytest.fixture
def config() -> Config:
    from importlib import resources

    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    return configuration.parse(text)


def cut_off(database: Database, number: int) -> None:
    """Remove the records from `number` on, and the head: the remaining chain is whole."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM usage_record WHERE number >= ?", (number,))
        connection.execute(
            "UPDATE usage_head SET (number, record_hash) = (SELECT number, record_hash FROM usage_record"
            " ORDER BY number DESC LIMIT 1)"
        )
        assert usage.verify(connection).bad is None


def records(database: Database) -> list[UsageRecord]:
    with database.reading() as connection:
        return list(usage.found(connection, UsageFilter()))


# --- heads by day -----------------------------------------------------------------------------------------------------


def test_every_day_has_its_last_record_by_the_sites_clock(database: Database, config: Config) -> None:
    first, _, third = records(database)
    with database.reading() as connection:
        found = proof.heads(connection, config.site)
        second_day = proof.heads(connection, config.site, NIGHT_MS + 3_600_000)
    assert [(head.number, head.record_hash) for head in found] == [(1, first.record_hash), (3, third.record_hash)]
    assert [head.day for head in found] == ["2026-05-28", "2026-05-29"]
    assert second_day == found[1:]


def test_an_end_that_was_cut_off_is_found_by_a_head_that_was_kept(
    database: Database, config: Config, tmp_path: Path
) -> None:
    file = tmp_path / "heads.jsonl"
    with database.reading() as connection:
        heads = proof.heads(connection, config.site)
    file.write_bytes(b"".join(msgspec.json.encode(head) + b"\n" for head in heads))
    assert kept.heads(file) == [
        proof.KeptRecord(head.number, head.record_hash, f"{file}, DEMO-1 on {head.day}") for head in heads
    ]
    api = tmp_path / "heads.json"
    api.write_bytes(msgspec.json.encode({"heads": heads}))
    assert [mark[:2] for mark in kept.heads(api)] == [mark[:2] for mark in kept.heads(file)]
    cut_off(database, 3)
    with database.reading() as connection:
        compared, problems = proof.compare_records(connection, kept.heads(file))
    assert compared == 2
    assert problems == [
        f"{file}, DEMO-1 on 2026-05-29: record 3 was kept and is missing here, where the log ends with 2:"
        " the database is an older one (restored?), or was cut"
    ]


def test_a_log_rewritten_as_a_whole_is_found_by_a_head_that_was_kept(
    database: Database, config: Config, tmp_path: Path
) -> None:
    with database.reading() as connection:
        heads = proof.heads(connection, config.site)
    forged = log_of(tmp_path / "forged.db", "s1", "s2", "s4")
    with forged.reading() as connection:
        _, problems = proof.compare_records(
            connection, [proof.KeptRecord(head.number, head.record_hash, head.day) for head in heads]
        )
    forged.close()
    (problem,) = problems
    assert problem.startswith("2026-05-29: record 3 was kept with hash ")
    assert problem.endswith("here: it, or one before it, was changed since")


# --- closings, both ways ----------------------------------------------------------------------------------------------


def close(database: Database, key, month: str) -> SignedClosing:
    with database.transaction() as connection:
        signed = month_closing.close(connection, key, "DEMO-1", month, WallTime(5000, True))
    assert signed is not None
    return signed


def problems_of(database: Database, kept_closings: list[SignedClosing], key) -> list[str]:
    with database.reading() as connection:
        own = list(month_closing.all_signed(connection))
        return proof.compare_closings(connection, own, kept_closings, month_closing.public(key))


def test_newest_closing_that_was_kept_and_is_gone_is_found(database: Database, tmp_path: Path) -> None:
    key = month_closing.load_key(tmp_path / "usage.key", make=True)
    first = close(database, key, "2026-05")
    with database.transaction() as connection:
        usage.append(connection, record("s4"))
    second = close(database, key, "2026-06")
    assert problems_of(database, [first, second], key) == []
    with database.transaction() as connection:
        connection.execute("DELETE FROM usage_closing WHERE number = 2")
    assert problems_of(database, [first, second], key) == [
        "closing 2 of 2026-06 was kept and is missing here, where the newest is 1: the database is an older one"
        " (restored?), or was cut"
    ]
    assert problems_of(database, [first], key) == []


def test_closing_that_was_made_again_is_another_one_than_was_kept(database: Database, tmp_path: Path) -> None:
    key = month_closing.load_key(tmp_path / "usage.key", make=True)
    first = close(database, key, "2026-05")
    with database.transaction() as connection:
        connection.execute("DELETE FROM usage_closing")
    close(database, key, "2026-04")
    assert problems_of(database, [first], key) == [
        "closing 1 of 2026-05 was kept and is another one here: month differ: it was made again after it was kept"
    ]


def test_closings_of_another_key_are_found_both_ways(database: Database, tmp_path: Path) -> None:
    key, other = (month_closing.load_key(tmp_path / name, make=True) for name in ("usage.key", "other.key"))
    first = close(database, key, "2026-05")
    with database.transaction() as connection:
        connection.execute("DELETE FROM usage_closing")
    close(database, other, "2026-05")
    problems = problems_of(database, [first], key)
    assert problems == [
        "closing of 2026-05: its signature is not of this key",
        "closing 1 of 2026-05 was kept and is another one here: key differ: it was made again after it was kept",
    ]


# --- exports ----------------------------------------------------------------------------------------------------------


def write_export(path: Path, found: list[UsageRecord], language: str = "zh") -> Path:
    if path.suffix == ".xlsx":
        usage_xlsx.write(path, found, language, SHANGHAI)
    elif path.suffix == ".jsonl":
        path.write_bytes(b"".join(map(usage_csv.json_line, found)))
    else:
        path.write_text("".join(usage_csv.csv_lines(found, language, SHANGHAI)), encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("name", ["kept.csv", "kept.xlsx", "kept.jsonl"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_kept_export_names_what_was_changed_and_what_is_missing(
    database: Database, tmp_path: Path, name: str, language: str
) -> None:
    file = write_export(tmp_path / name, records(database), language)
    marks = kept.export(file)
    with database.reading() as connection:
        assert proof.compare_records(connection, marks) == (3, [])
    with database.transaction() as connection:
        rewrite(connection, 2, total_fen=1)
        connection.execute("DELETE FROM usage_record WHERE number = 3")
    with database.reading() as connection:
        compared, problems = proof.compare_records(connection, marks)
    assert compared == 3
    row = {"kept.csv": "row 3", "kept.xlsx": "row 3", "kept.jsonl": "line 2"}[name]
    assert problems[0].startswith(f"{file}, {row}: record 2 was kept with hash ")
    assert "record 3 was kept and is missing here, where the log ends with 2" in problems[1]


def test_a_spreadsheet_that_was_opened_and_saved_is_still_read(database: Database, tmp_path: Path) -> None:
    """Other programs put texts apart (shared strings)."""
    import openpyxl

    file = write_export(tmp_path / "kept.xlsx", records(database))
    book = openpyxl.load_workbook(file)
    book.save(file)
    with database.reading() as connection:
        assert proof.compare_records(connection, kept.export(file)) == (3, [])
        assert kept.changed_figures(connection, kept.export(file)) == []


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("name", ["kept.csv", "kept.xlsx"])
def test_a_figure_that_was_changed_in_a_kept_table_is_named(
    database: Database, tmp_path: Path, name: str, language: str
) -> None:
    """The hash beside it is still that of the record."""
    shown = records(database)
    changed = msgspec.structs.replace(shown[1], total_fen=shown[1].total_fen + 100)
    marks = kept.export(write_export(tmp_path / name, [shown[0], changed, shown[2]], language))
    with database.reading() as connection:
        assert proof.compare_records(connection, marks) == (3, [])
        (problem,) = kept.changed_figures(connection, marks)
        assert kept.changed_figures(connection, kept.export(write_export(tmp_path / name, shown, language))) == []
    assert problem.startswith(f"{tmp_path / name}, row 3: record 2 has its hash, but ")
    assert problem.endswith("the file was changed, take another copy of the export")


@pytest.mark.parametrize(
    ("cell", "same"),
    [
        ("1234.50", True), ("1234.5", True), ("1,234.50", True), ("1234,50", True), ("1234.4999999999998", True),
        ("１２３４.５", True), (" 1234.50 ", True), ("1234.51", False), ("1234", False), ("12.3450", False),
        ("1e400", False), ("NaN", False), ("inf", False), ("=1", False),
    ],
)  # fmt: skip
def test_a_number_is_the_same_as_other_programs_write_it(cell: str, same: bool) -> None:
    assert kept._is_same_number(cell, "1234.50") is same


def test_an_export_that_was_changed_itself_proves_nothing(database: Database, tmp_path: Path) -> None:
    file = write_export(tmp_path / "kept.jsonl", records(database))
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lines[1]["total_fen"] = 1
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(CabinetError, match="line 2: record 2 was changed in this file"):
        kept.export(file)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"a,b\n1,2\n", "has no column of numbers, or none of hashes"),
        ("x.csv", b"", "has no column of numbers"),
        ("x.csv", b"\xff\xfe\x00", "neither JSON lines nor a table"),
        ("x.xlsx", b"PK\x03\x04 and no more", "is no spreadsheet"),
        ("x.jsonl", b"{}\n", "line 1: is no record of the usage log"),
    ],
)
def test_a_file_that_is_no_export_is_refused_by_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(CabinetError, match=said) as refused:
        kept.export(file)
    assert str(refused.value).startswith(str(file))


def test_a_file_that_was_cut_to_nothing_is_no_proof(database: Database, tmp_path: Path) -> None:
    empty = {
        "x.jsonl": b"\n", "heads.json": b'{"heads":[]}\n', "closings.json": b'{"closings":[]}',
        "x.csv": write_export(tmp_path / "titles.csv", []).read_bytes(),
    }  # fmt: skip
    readers: dict[str, list[Callable[[Path], object]]] = {
        "x.jsonl": [kept.heads, kept.closings],
        "heads.json": [kept.heads],
        "closings.json": [kept.closings],
    }
    for name, content in empty.items():
        (tmp_path / name).write_bytes(content)
        for read in readers.get(name, [kept.export]):
            with pytest.raises(CabinetError, match="nothing can be compared"):
                read(tmp_path / name)
    only_key = tmp_path / "key.json"
    only_key.write_bytes(b'{"key":"k","closings":[]}')
    assert kept.closings(only_key).key == "k"
