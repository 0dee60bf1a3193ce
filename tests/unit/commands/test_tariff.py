"""`cabinet tariff`: the examples of docs/tariffs.md as they stand there, and files put into force and out of it."""

import shlex
from importlib import resources
from pathlib import Path

import pytest

from cabinet.main import main
from cabinet_testing.tariff_examples import EXAMPLES, FILES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with the documents' files and a configuration in it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    (tmp_path / "cabinet.toml").write_text(f'{text}\n[paths]\nstate = "{tmp_path}/state"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CABINET_CONFIG", str(tmp_path / "cabinet.toml"))
    return tmp_path


def test_documents_have_five_tariffs_and_their_receipts():
    assert list(FILES) == ["beijing.toml", "bands.toml", "night.toml", "package.toml", "caps.toml"]
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize(("command", "printed"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_example_of_the_documents_is_true(folder, capsys, command, printed):
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == printed


def run(capsys, *words: str, status: int = 0) -> str:
    assert main(["tariff", *words]) == status
    printed = capsys.readouterr()
    return printed.out + printed.err


def test_file_is_added_listed_and_removed(folder, capsys):
    assert run(capsys, "add", "night.toml") == "added: night-2027: all outlets, all residents\n"
    lines = run(capsys, "list").splitlines()
    assert [line.split(":")[0] for line in lines] == ["demo-2026-11", "night-2027"]
    assert run(capsys, "remove", "night-2027") == "removed: night-2027\n"
    assert len(run(capsys, "list").splitlines()) == 1


def test_file_that_clashes_or_has_mistakes_is_not_added(folder, capsys):
    run(capsys, "add", "night.toml")
    said = run(capsys, "add", "caps.toml", status=1)
    assert said.startswith("caps.toml: file: as in ")
    (folder / "caps.toml").write_text(FILES["caps.toml"].replace("= 50 }", "= -50 }"), encoding="utf-8")
    assert run(capsys, "add", "caps.toml", status=1).startswith("caps.toml: time_bands[1].fen_per_hour: expected whole")
    assert [path.name for path in (folder / "state" / "tariffs").iterdir()] == ["night-2027.toml"]


def test_versions_that_look_alike_have_files_of_their_own(folder, capsys):
    """One that was named like another's file once took its place."""
    text = FILES["night.toml"]
    for version, days in (
        ("a/b", "valid_until = 2027-06-30"),
        ("a b", "valid_from = 2027-07-01"),
        ("春", "groups = ['x']"),
    ):
        (folder / "new.toml").write_text(text.replace("night-2027", version) + days + "\n", encoding="utf-8")
        run(capsys, "add", "new.toml")
    assert {line.split(":")[0] for line in run(capsys, "list").splitlines()[1:]} == {"a/b", "a b", "春"}
    run(capsys, "remove", "a b")
    assert {line.split(":")[0] for line in run(capsys, "list").splitlines()[1:]} == {"a/b", "春"}


def test_base_tariff_and_one_that_is_not_there_cannot_be_removed(folder, capsys):
    assert run(capsys, "remove", "demo-2026-11", status=1).startswith("demo-2026-11 is the tariff of cabinet.toml")
    assert run(capsys, "remove", "../../x", status=1) == "there is no tariff ../../x; see cabinet tariff list\n"


def test_list_tells_of_files_that_are_not_used(folder, capsys):
    run(capsys, "add", "night.toml")
    path = folder / "state" / "tariffs" / "night-2027.toml"
    path.write_text(FILES["night.toml"].replace("weekends_are_holidays", "weekend_is_holiday"), encoding="utf-8")
    said = run(capsys, "list", status=1).splitlines()[1]
    assert said.startswith(f"NOT USED: {path}: weekend_is_holiday: unknown key; did you mean weekends_are_holidays?")


def test_check_tells_of_every_file(folder, capsys):
    (folder / "bad.toml").write_text(FILES["caps.toml"].replace("caps-2027", ""), encoding="utf-8")
    said = run(capsys, "check", "night.toml", "bad.toml", status=1).splitlines()
    assert said[0] == "OK: night.toml: night-2027: all outlets, all residents"
    assert said[1].startswith("bad.toml: version: expected text of length >= 1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--hours", "2"), "give two of --hours, --watts and --kwh, above 0"),
        (("--hours", "2", "--watts", "0"), "give two of --hours, --watts and --kwh, above 0"),
        (("--hours", "nan", "--watts", "100"), "give two of --hours, --watts and --kwh, above 0"),
        (("--hours", "2", "--watts", "inf"), "give two of --hours, --watts and --kwh, above 0"),
        (("--hours", "2", "--watts", "100", "--kwh", "1"), "2 h at 100 W are 0.2 kWh, not 1"),
        (("--kwh", "20", "--watts", "100"), "no charge lasts 200 h: at most 48"),
        (("--hours", "2", "--watts", "100", "--package", "3"), "night.toml: there is no package of 3 h"),
    ],
)
def test_charge_that_cannot_be_is_one_line(folder, capsys, words, said):
    assert run(capsys, "explain", "night.toml", *words, status=1) == f"{said}\n"


def test_energy_and_time_or_power_are_enough(folder, capsys):
    by_power = run(capsys, "explain", "beijing.toml", "--kwh", "1", "--watts", "250")
    assert run(capsys, "explain", "beijing.toml", "--kwh", "1", "--hours", "4") == by_power
