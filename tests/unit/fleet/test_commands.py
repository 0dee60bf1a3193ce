"""Commands of the fleet, as typed, over a real database."""

import csv
import io
import re

import openpyxl
import psycopg
import pytest

from cabinet.reports import kept
from cabinet.uplink.anchors import open_anchor
from cabinet.uplink.orders import key_id
from cabinet_testing import fleet_scene as scene
from cabinet_testing.fleet_facts import payload, simulated
from fleet import ingest
from fleet.main import COMMANDS, main
from fleet.store import database
from fleet.trust import TrustFolder


@pytest.fixture
def fleet(url, tmp_path, capsys):
    """Run a command; return its exit status and output."""
    path = tmp_path / "fleet.toml"
    path.write_text(f'[database]\nurl = "{url}"\n[broker]\nca = ""\ncertificate = ""\nkey = ""\nport = 1\n'
                    '[web]\npublic_url = "http://127.0.0.1:8090"\n')  # fmt: skip

    def run_command(*words):
        capsys.readouterr()
        status = main([*words, "--config", str(path)])
        found = capsys.readouterr()
        return status, found.out + found.err

    return run_command


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("metrics",)])
def test_every_command_has_a_help_with_examples(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_a_company_is_set_up_from_nothing_by_commands(fleet, tmp_path):
    assert fleet("company", "add", "Green Court") == (0, "")
    status, said = fleet("company", "add", "Green Court")
    assert (status, "already" in said) == (1, True)
    assert fleet("company", "site", "Green Court", "--site", "East gate", "--group", "east")[0] == 0
    assert fleet("company", "site", "Green Court", "--site", "West", "--timezone", "Nowhere/No")[0] == 1
    assert "East gate" in fleet("company", "list")[1]
    assert fleet("resident", "add", "--company", "Green Court", "--phone", "13800001111")[0] == 0
    status, said = fleet("resident", "add", "--company", "Green Court", "--card", "88112233")
    assert re.fullmatch(r"resident \d+, PIN \d{6}\n", said)
    top_up = ("resident", "top-up", "--company", "Green Court", "--phone", "13800001111", "2000", "--key", "a")
    assert fleet(*top_up) == (0, "resident 1: 20.00 yuan\n")
    assert fleet(*top_up) == (0, "resident 1: 20.00 yuan\n"), "the same key moves nothing"
    assert "13800001111" in fleet("resident", "list", "--company", "Green Court")[1]
    assert "no such resident" in fleet("resident", "top-up", "--company", "Green Court", "--phone", "1", "1")[1]
    assert "no such company" in fleet("resident", "list", "--company", "Blue Court")[1]
    status, said = fleet("staff", "add", "wang", "--company", "Green Court", "--role", "operator")
    assert (status, len(said.strip()) >= 12) == (0, True)
    assert fleet("staff", "remove", "wang", "--company", "Green Court")[0] == 1, "one operator has to stay"
    assert "wang" in fleet("staff", "list", "--company", "Green Court")[1]
    assert "free 20.00 yuan" in fleet("ledger", "statement", "--company", "Green Court", "--phone", "13800001111")[1]
    assert fleet("ledger", "check") == (0, "Green Court: the books are in order\n")
    exported = csv.reader(io.StringIO(fleet("ledger", "export", "--company", "Green Court")[1].lstrip("\ufeff")))
    assert [row[3:6] for row in exported][1:] == [["cash", "20.00", ""], ["wallet:1", "", "20.00"]]


def test_what_others_typed_reaches_the_terminal_as_text(fleet):
    fleet("company", "add", "Green Court")
    fleet("resident", "add", "--company", "Green Court", "--phone", "13800001111", "--name", "\x1b]0;owned\x07")
    said = fleet("resident", "list", "--company", "Green Court")[1]
    assert "13800001111" in said
    assert "\x1b" not in said


def test_books_that_were_changed_are_reported(fleet, url):
    fleet("company", "add", "Green Court")
    fleet("resident", "add", "--company", "Green Court", "--phone", "13800001111")
    fleet("resident", "top-up", "--company", "Green Court", "--phone", "13800001111", "2000")
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE account SET balance_fen = 2001 WHERE name = 'wallet:1'")
    status, said = fleet("ledger", "check")
    assert status == 1
    assert "account wallet:1: balance 2001 fen, its postings add up to 2000" in said


def test_a_tariff_is_rolled_out_and_listed_by_cabinet(fleet, url, run, tmp_path):
    async def prepare():
        async with await database.connect(url) as connection:
            company = await scene.add_company(connection, "Green Court")
            await scene.add_cabinet(connection, company, "c-one")
            await scene.add_cabinet(connection, company, "c-two")

    run(prepare())
    file = tmp_path / "winter.toml"
    file.write_text(scene.TARIFF.replace("2026-11", "winter").replace("2020-01-01", "2026-12-01"))
    status, said = fleet("tariff", "roll-out", str(file), "--company", "Green Court", "--cabinet", "c-one")
    assert (status, said) == (0, "c-one: winter\n")
    assert fleet("tariff", "list", "--company", "Green Court")[1].splitlines()[1:] == [f"  {'c-one':<32} not yet"]
    roll_out = ("tariff", "roll-out", str(file), "--company", "Green Court")
    assert "no such cabinet" in fleet(*roll_out, "--cabinet", "c-six")[1]
    file.write_text("version = 3")
    status, said = fleet(*roll_out)
    assert (status, "energy_periods: is missing" in said) == (1, True)


def test_address_and_text_of_stickers_are_set_for_cabinets_and_listed(fleet, url, run):
    async def prepare():
        async with await database.connect(url) as connection:
            company = await scene.add_company(connection, "Green Court")
            await scene.add_cabinet(connection, company, "c-one")
            await scene.add_cabinet(connection, company, "c-two")

    run(prepare())
    of = ("--company", "Green Court")
    assert fleet("sticker", "set", *of, "--cabinet", "c-two", "--text", "Scan!") == (
        0, "c-two: http://127.0.0.1:8090 Scan!\n"
    )  # fmt: skip
    assert "no such site" in fleet("sticker", "set", *of, "--site", "Nowhere")[1]
    assert fleet("sticker", "set", *of, "--cabinet", "c-one", "--address", "https://charge.example")[0] == 0
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE desired SET applied_version = version WHERE cabinet = 'c-two'")
        connection.execute("UPDATE desired SET rejected = 'too long' WHERE cabinet = 'c-one' AND kind = 'public_url'")
    assert [line.split(maxsplit=2) for line in fleet("sticker", "list", *of)[1].splitlines()] == [
        ["c-one", "public_url", "https://charge.example: refused: too long"],
        ["c-two", "public_url", "http://127.0.0.1:8090: in force"],
        ["c-one", "sticker_text", "-: not yet"],
        ["c-two", "sticker_text", "Scan!: in force"],
    ]


@pytest.fixture
def mirrored(url, run):
    """Two cabinets with three charges each, of Green Court."""

    async def prepare():
        async with await database.connect(url) as connection:
            company = await scene.add_company(connection, "Green Court")
            await scene.add_cabinet(connection, company, "c-one")
            await scene.add_cabinet(connection, company, "c-two")
        async with database.pool(url, 2) as pool:
            for cabinet in ("c-one", "c-two"):
                sim = simulated(3, cabinet)
                await ingest.take_in(pool, [payload(sim, *sim.facts)])

    run(prepare())


def test_usage_of_all_cabinets_is_exported_in_every_format(fleet, mirrored, tmp_path):
    path = tmp_path / "usage.csv"
    export = ("usage", "export", "--company", "Green Court", "--output", str(path))
    assert fleet(*export, "--lang", "en") == (0, "")
    found = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"))))
    assert (found[0][0], [row[0] for row in found[1:]]) == ("Number", ["1", "2", "3"] * 2)
    assert fleet(*export, "--format", "jsonl", "--cabinet", "c-two")[0] == 0
    assert len(kept.export(path)) == 3
    assert fleet(*export[:-1], str(tmp_path / "usage.xlsx"), "--format", "xlsx")[0] == 0
    assert openpyxl.load_workbook(tmp_path / "usage.xlsx").active.max_row == 7
    assert fleet(*export, "--to", "2020-01-01")[0] == 0
    assert len(path.read_text("utf-8-sig").splitlines()) == 1


def test_heads_are_those_that_a_cabinets_own_verify_takes(fleet, mirrored, tmp_path):
    path = tmp_path / "heads.jsonl"
    path.write_text(fleet("usage", "heads", "--company", "Green Court", "--cabinet", "c-one")[1])
    assert [mark.number for mark in kept.heads(path)] == [3]


def test_heads_are_signed_with_the_key_that_the_cabinet_trusts(fleet, mirrored, tmp_path):
    trust = TrustFolder(tmp_path / "trust")
    trust.order_keys.mkdir(parents=True)
    trust.add_order_key()
    signed = fleet("usage", "heads", "--company", "Green Court", "--cabinet", "c-one", "--sign")[1]
    key = trust.signing_keys()[0].verify_key
    anchor = open_anchor(signed.encode(), {key_id(key): key}, "c-one")
    assert [head.number for head in anchor.heads] == [3]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE usage_record SET electricity_fen = 0 WHERE number = 2", "record 2: its columns are not those"),
        (
            "UPDATE usage_record SET body = replace(body, 'full', 'x') WHERE number = 2",
            "record 2: its contents do not give",
        ),
        ("DELETE FROM usage_record WHERE number = 2", "record 3: records 2 to 2 are missing"),
        ("UPDATE usage_record SET record_hash = repeat('0', 64) WHERE number = 2", "record 3: it does not follow"),
    ],
    ids=["column", "body", "deleted", "hash"],
)
def test_a_mirror_that_was_changed_is_found_by_verify_with_its_place(fleet, url, mirrored, change, problem):
    assert fleet("usage", "verify") == (0, "6 records of 2 logs and 0 closings are as written\n")
    with psycopg.connect(url) as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="never changed"), connection.transaction():
            connection.execute(change)
        connection.execute("ALTER TABLE usage_record DISABLE TRIGGER usage_stays")
        connection.execute(change)
    status, said = fleet("usage", "verify", "--company", "Green Court")
    assert status == 1
    assert f"c-one, epoch epoch-1, {problem}" in said


def test_check_names_every_problem(fleet):
    status, said = fleet("check")
    assert status == 1
    assert "trust.folder: " in said
    assert "broker: 127.0.0.1:1: " in said
    assert "database" not in said


def test_migrate_says_that_nothing_is_to_be_done(fleet):
    assert fleet("migrate") == (0, "the schema is up to date\n")


def test_a_newer_schema_is_refused_by_every_command(fleet, url):
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO schema_migration (version, name) VALUES (999, 'from the future')")
    for words in (("company", "list"), ("migrate",), ("usage", "verify")):
        status, said = fleet(*words)
        assert status == 1
        assert "schema 999" in said
