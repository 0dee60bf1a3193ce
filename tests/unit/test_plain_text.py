"""Text on its way out: nothing that people typed acts on the terminal, the log, the spreadsheet or the page of another.

The database of these tests holds what was typed into an older version, or into the file itself: exits are safe by
themselves.
"""

import csv
import io
import json
import logging
import re
import sqlite3
import unicodedata
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cabinet
from cabinet import plain_text, safe_output
from cabinet.console import command_line
from cabinet.console.command import Output
from cabinet.console.terminal import columns
from cabinet.console.wording import wording
from cabinet.main import main
from cabinet.reports import spreadsheet
from cabinet.service.accounts import admin
from cabinet.store import residents, staff, tokens
from cabinet.store.database import Database
from cabinet.system import file_output

ESCAPES = "\x1b]0;x\x07\x1b[2J"
HOSTILE = [
    ESCAPES,
    "\x9b2J",
    "a\nforged line",
    "a\rover",
    "\u202egnp.exe",
    "\u2066x",
    "z\u200bero",
    "\x00",
    "\ufeff",
    "\x85",
]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"]

TEXT = st.text(st.characters(), max_size=60) | st.lists(
    st.sampled_from([*HOSTILE, *FORMULAS, "王", "👨\u200d👩", "é"])
).map("".join)


def acts(text: str) -> list[str]:
    """Characters in `text` that do something to a terminal, or are not seen on it, by Unicode's own categories."""
    visible_marks = {"\u0600", "\u0601", "\u0602", "\u0603", "\u0604", "\u0605", "\u06dd", "\u070f", "\u0890", "\u0891"}
    return [
        each
        for place, each in enumerate(text)
        if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")
        or (
            unicodedata.category(each) == "Cf"
            and each not in visible_marks
            and not unicodedata.name(each, "").startswith(("ARABIC", "KAITHI", "EGYPTIAN"))
            and not (each in "\u200c\u200d" and place and text[place - 1] > "\u061f")
        )
    ]


def test_a_note_with_escapes_is_shown_as_replaced_signs() -> None:
    assert plain_text.one_line(ESCAPES) == "\ufffd]0;x\ufffd\ufffd[2J"


@pytest.mark.parametrize("text", ["王芳", "老王👨\u200d👩\u200d👧", "क्\u200dष", "é ﹏ ½ ①", "𠮷", "\ue000"])
def test_what_is_text_stays_as_it_is(text: str) -> None:
    assert plain_text.one_line(text) == text
    assert plain_text.cell(text) == text


@given(TEXT)
def test_no_exit_lets_through_what_acts_or_is_unseen(text: str) -> None:
    assert acts(plain_text.one_line(text)) == []
    assert acts(re.sub("[\n\t]", "", plain_text.lines(text))) == []
    assert acts(plain_text.cell(text)) == []
    assert plain_text.one_line(plain_text.one_line(text)) == plain_text.one_line(text)


@given(TEXT)
def test_no_cell_is_a_formula(text: str) -> None:
    assert not plain_text.cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))


@pytest.mark.parametrize("blank", ["", " ", "  ", "\u3000", "\u00a0", "\t", "\n"])
@pytest.mark.parametrize("sign", ["=", "＝", "﹦", "+", "﹢", "-", "﹣", "\u2212", "@", "﹫"])
def test_blanks_and_small_signs_hide_no_formula(sign: str, blank: str) -> None:
    assert plain_text.cell(f"{blank}{sign}1+1").startswith("'")


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_json_shows_what_acts_as_an_escape_and_loses_nothing(text: str) -> None:
    shown = plain_text.json_text(json.dumps({"note": text}, ensure_ascii=False).encode())
    assert acts(shown.replace("\u200c", "").replace("\u200d", "")) == []
    assert json.loads(shown) == {"note": text}
    reply = command_line.reply_json(Output("", text), wording("en"))
    assert acts(reply.replace("\u200c", "").replace("\u200d", "")) == []


def test_a_line_is_not_broken_inside_a_joined_sign() -> None:
    family = "👨\u200d👩"
    assert columns.fold(family * 50) == [family * 20, family * 20, family * 10]
    assert columns.cut(family * 50, 9) == family * 2 + "…"


@given(st.lists(TEXT, min_size=3, max_size=3))
def test_a_table_of_the_console_is_lines_of_text(cells: list[str]) -> None:
    (line,) = columns.table(["a", "b", "c"], [cells])[1:]
    assert acts(line) == []
    assert all(acts(each) == [] for each in columns.fold(" ".join(cells)))


@given(st.lists(TEXT, min_size=2, max_size=2))
def test_a_spreadsheet_holds_text_as_text(cells: list[str]) -> None:
    made = io.BytesIO()
    spreadsheet.write(made, ["=title", "b"], [cells])
    rows = list(openpyxl.load_workbook(made).active.iter_rows())
    for row in rows:
        for each in row:
            assert each.value is None or each.data_type == "s"
    assert [each.value or "" for each in (rows[1] if len(rows) > 1 else [])] in (
        [plain_text.one_line(each) for each in cells],
        [],
    )


def test_a_record_of_the_log_is_one_line_and_a_traceback_cannot_be_forged() -> None:
    formatter = plain_text.LogFormatter()
    record = logging.LogRecord("cabinet.x", logging.INFO, "", 0, "card %s", (f"1{ESCAPES}\nERROR forged\n<0>x",), None)
    assert formatter.format(record) == ("INFO cabinet.x: card 1\ufffd]0;x\ufffd\ufffd[2J\n  ERROR forged\n  <0>x")
    try:
        raise ValueError("bad\x1b[2J")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    lines = formatter.format(record).splitlines()
    assert all(line.startswith("  ") for line in lines[1:])
    assert lines[-1] == "  ValueError: bad\ufffd[2J"


def test_whatever_a_command_prints_the_terminal_gets_text(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    with safe_output.text_only():
        print("a\x1b[2Jb\u202e")
        print("c\x07", file=sys.stderr)
        sys.stdout.writelines(["d\x9b", "\n"])
        with file_output.output(None) as output:
            output.write("\ufeff序号\r\n".encode())
    printed = capsys.readouterr()
    assert printed.out == "a\ufffd[2Jb\ufffd\nd\ufffd\n\ufeff序号\r\n"
    assert printed.err == "c\ufffd\n"


# --- commands on a database with all of it ----------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """The configuration of a cabinet whose database holds hostile text in every column that people fill."""
    from importlib import resources

    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    config = tmp_path / "cabinet.toml"
    config.write_text(text + f'\n[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"\n', encoding="utf-8")
    database = Database(_made(tmp_path / "state" / "cabinet.db"))
    with database.transaction() as connection:
        for number, each in enumerate([*HOSTILE, *FORMULAS]):
            residents.add(connection, f"card{number}{each}", each, "hash", 0, each)
            staff.add(connection, f"{number}{each}", "hash", 0)
            tokens.add_token(connection, f"{number}{each}", ("usage:read",), f"token{number}", 0, 1)
            _top_up(connection, number + 1, f"top-up:{number}{each}", each)
    database.close()
    return config


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    return path


def _top_up(connection: sqlite3.Connection, who: int, key: str, note: str) -> None:
    connection.execute(
        "INSERT INTO ledger_transaction (id, key, kind, unix_ms, trusted, note) VALUES (?, ?, 'top_up', 0, 1, ?)",
        (who, key, note),
    )
    for account, fen in (("cash", -100), (f"wallet:{who}", 100)):
        connection.execute("INSERT OR IGNORE INTO account VALUES (?, 0)", (account,))
        connection.execute("UPDATE account SET balance_fen = balance_fen + ? WHERE name = ?", (fen, account))
        connection.execute("INSERT INTO posting VALUES (?, ?, ?)", (who, account, fen))


@pytest.mark.parametrize(
    "words",
    [("resident", "list"), ("staff", "list"), ("ledger", "statement", "card0\x1b]0;x\x07\x1b[2J"), ("ledger", "check"),
     ("store", "check"), ("resident", "block", "no\x1bcard"), ("usage", "verify")],
)  # fmt: skip
def test_no_command_prints_what_was_typed_by_another_as_it_is(
    hostile: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    main([*words, "--config", str(hostile)])
    printed = capsys.readouterr()
    assert acts((printed.out + printed.err).replace("\n", "")) == []
    assert not re.search("^forged", printed.out + printed.err, re.MULTILINE), "one entry is one line"


def test_the_ledgers_export_is_text_in_both_forms(
    hostile: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    month = ("ledger", "export", "--month", "1970-01", "--config", str(hostile))
    assert main(list(month)) == 0
    rows = list(csv.reader(io.StringIO(capsysbinary.readouterr().out.decode("utf-8-sig"), newline="")))
    assert len(rows) == 2 + 2 * len([*HOSTILE, *FORMULAS])
    assert [each for row in rows for cell in row for each in acts(cell)] == []
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    file = tmp_path / "ledger.xlsx"
    assert main([*month, "--format", "xlsx", "--output", str(file)]) == 0
    first, *others = openpyxl.load_workbook(file).active.iter_rows(max_row=5)
    assert {cell.data_type for row in others for cell in row if cell.value is not None} == {"n", "s", "d"}
    assert [cell.value for cell in first][1] == "时间 (Asia/Shanghai)"
    assert str(others[0][1].value) == "1970-01-01 08:00:00", "a real date"


# --- the source -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("means", "where"),
    [
        (r"\bcsv\.writer\(", {"usage_csv.py"}),
        (r"\bxlsxwriter\b", {"spreadsheet.py"}),
        (r"logging\.(basicConfig|Formatter|StreamHandler|FileHandler)\b", {"plain_text.py"}),
        (r"std(out|err)\.buffer", {"file_output.py"}),
        (r"sys\.__std(out|err)__", set()),
    ],
)
def test_each_exit_is_in_one_place_and_goes_through_the_one_function(means: str, where: set[str]) -> None:
    root = Path(cabinet.__file__).parent
    found = {path.name for path in root.rglob("*.py") if re.search(means, path.read_text(encoding="utf-8"))}
    assert found == where


def test_only_commands_print() -> None:
    """`sub_commands` puts their streams, and the simulator's, behind `safe_output.text_only`; others have exits."""
    root = Path(cabinet.__file__).parent
    found = {path for path in root.rglob("*.py") if re.search(r"(?m)^\s*print\(", path.read_text(encoding="utf-8"))}
    assert {path.relative_to(root).parts[0] for path in found} == {
        "commands",
        "safe_output.py",
        "sim",
        "sub_commands.py",
    }


def test_every_command_runs_behind_the_safe_streams(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only entry point of the package is `main`, and `main` is behind them."""
    monkeypatch.setattr("cabinet.commands.failsafe.main", lambda args: print("x\x1b[2J") or 0)
    assert main(["failsafe"]) == 0
    assert capsys.readouterr().out == "x\ufffd[2J\n"
    setup = (Path(cabinet.__file__).parents[1] / "setup.cfg").read_text(encoding="utf-8")
    assert re.findall(r"^    (\w+) = (cabinet\S+)$", setup, re.MULTILINE) == [("cabinet", "cabinet.main:main")]


def test_the_admin_functions_clean_what_comes_in(tmp_path: Path) -> None:
    from cabinet.clock import SystemClock

    database = Database(tmp_path / "cabinet.db")
    admin.add_resident(database, SystemClock(), "ａb-１２３", name="王\u3000芳\u200b", pin="４８ 2035")
    assert [(each.card, each.name) for each in admin.list_residents(database)] == [("AB-123", "王 芳")]
    database.close()
