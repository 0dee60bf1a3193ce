"""`cabinet check` as a command."""

from importlib import resources

import pytest

from cabinet.config import reference
from cabinet.main import main

DEMO = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cabinet.toml"
    path.write_text(DEMO, encoding="utf-8")
    return path


def test_good_file_is_one_line_by_which_its_owner_knows_it(file, capsys):
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == (
        f"OK: {file}: 示范小区充电柜 (DEMO-1), 10 outlets on simulated hardware, "
        "tariff demo-2026-11: 0.20 to 0.60 yuan an hour, 0.70 to 0.85 yuan a kWh\n"
    )


def test_bad_file_is_every_mistake_in_a_line_and_status_1(file, capsys):
    text = DEMO.replace('alert = "gpio:5"\n', 'alert = "gpio:4"\n').replace('bus = "sim"', 'bus = "sim"\nspede = 1')
    file.write_text(text, encoding="utf-8")
    assert main(["check", str(file)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        f"{file}: hardware.spede: unknown key",
        f"{file}: outlet[2].alert: GPIO 4 is taken by outlet[1].alert",
    ]


@pytest.mark.parametrize("command", ["guard", "serve", "console", "failsafe", "run"])
def test_nothing_starts_on_a_bad_file(command, file, capsys):
    file.write_text(DEMO.replace('bus = "sim"', 'bus = "sim"\nspede = 1'), encoding="utf-8")
    assert main([command, "--config", str(file)]) == 1
    assert capsys.readouterr().err == f"{file}: hardware.spede: unknown key\n"


def test_reference_and_example_are_printed_whole(capsys):
    main(["check", "--reference"])
    assert capsys.readouterr().out == reference.reference()
    main(["check", "--example"])
    assert capsys.readouterr().out == reference.example()


def test_exactly_one_thing_is_asked_for(file, capsys):
    for words in (["check"], ["check", str(file), "--example"], ["check", "--reference", "--example"]):
        with pytest.raises(SystemExit):
            main(words)
    assert capsys.readouterr().out == ""
