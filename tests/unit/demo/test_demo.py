"""The folder of a demonstration: its configuration, its logins, and what the terminal says."""

import argparse
import io
import json
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from cabinet.clock import ManualClock
from cabinet.commands import run
from cabinet.config import load, parse
from cabinet.config.reference import example
from cabinet.console.accounts import ConsoleAccounts
from cabinet.demo import folder as demo
from cabinet.demo.banner import banner_lines
from cabinet.demo.logins import Logins, seed
from cabinet.errors import CabinetError, ConfigError
from cabinet.service.accounts import admin

LOGINS = Logins(card="12345678", pin="471108", staff_password="secret", api_token="token", console_pin="081547")


def test_first_configuration_is_good_and_keeps_everything_in_the_folder(tmp_path):
    path = demo.prepare(tmp_path / "var", None)
    config = load(path)
    assert config.simulated
    assert (config.paths.state, config.paths.run) == (str(tmp_path / "var/state"), str(tmp_path / "var/run"))
    assert config.service.port == 8080


def test_folder_may_have_any_name():
    with tempfile.TemporaryDirectory() as short:  # a socket's path may have 107 bytes
        folder = Path(short) / 'a "b" \\ 充电'
        assert load(demo.prepare(folder, None)).paths.run == str(folder / "run")


def test_relative_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(demo.prepare(Path("var"), None)).paths.state == str(tmp_path / "var/state")


def test_configuration_of_the_owner_is_not_written_again(tmp_path):
    path = demo.prepare(tmp_path, None)
    changed = path.read_text().replace("full_hold_s = 20.0", "full_hold_s = 33.0")
    path.write_text(changed)
    assert demo.prepare(tmp_path, None) == path
    assert path.read_text() == changed


def test_port_changes_nothing_else_of_the_owners_file(tmp_path):
    path = demo.prepare(tmp_path, None)
    before = path.read_bytes().replace(b"\n", b"\r\n") + b"# the end, with blanks  "
    path.write_bytes(before)
    path.chmod(0o640)
    demo.prepare(tmp_path, 9090)
    assert path.read_bytes() == before.replace(b"port = 8080", b"port = 9090").replace(
        b"127.0.0.1:8080", b"127.0.0.1:9090"
    )
    assert path.stat().st_mode & 0o777 == 0o640


def test_port_replaces_only_the_port_and_the_address_on_this_machine(tmp_path):
    path = demo.prepare(tmp_path, None)
    before = load(path)
    demo.prepare(tmp_path, 9090)
    after = load(path)
    assert (after.service.port, after.site.public_url) == (9090, "http://127.0.0.1:9090")
    demo.prepare(tmp_path, 8080)
    assert load(path) == before


@pytest.mark.parametrize(
    "text",
    [
        "[service]\nport = 1\n",
        "[service]\nhost = '::1'\nport = 1\n[paths]\n",
        "[service]\nhost = '::1'\n\n[paths]\n",
        "[paths]\nrun = 'x'\n",
        "",
    ],
)
def test_port_finds_its_place(text):
    assert demo.with_port(demo.with_port(text, 7), 8).count("port = 8") == 1
    assert "port = 1" not in demo.with_port(text, 8)


def test_port_leaves_a_public_address_alone():
    text = 'public_url = "https://charge.example:8443"\n'
    assert text in demo.with_port(text, 9)


def test_folder_too_deep_for_sockets_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"too long a path for sockets: give a shorter folder with --state"):
        demo.prepare(tmp_path / ("x" * 100), None)


def test_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CabinetError, match=r"file/var: cannot be used for the demonstration \(Not a directory\)"):
        demo.prepare(tmp_path / "file" / "var", None)


def test_taken_port_says_so_and_a_free_one_does_not():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CabinetError, match=rf"port {port} of 127\.0\.0\.1 cannot be had .*--port N"):
            demo.check_port_is_free("127.0.0.1", port)
    demo.check_port_is_free("127.0.0.1", port)
    demo.check_port_is_free("127.0.0.1", 0)


def test_port_option_is_for_the_simulated_cabinet_only(tmp_path):
    parser = argparse.ArgumentParser()
    run.configure(parser)
    with pytest.raises(CabinetError, match=r"in your own file set service\.port"):
        run.main(parser.parse_args(["--config", str(tmp_path / "x.toml"), "--port", "1"]))


@pytest.mark.parametrize("port", ["-1", "65536", "http", "80.5"])
def test_port_that_is_none_is_refused_before_anything_is_written(port, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    run.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--state", str(tmp_path), "--port", port])
    assert "argument --port: invalid" in capsys.readouterr().err


def test_second_run_in_the_same_folder_is_refused(tmp_path):
    with (
        run.lock_run_folder(tmp_path),
        pytest.raises(CabinetError, match="another cabinet run is at work"),
        run.lock_run_folder(tmp_path),
    ):
        raise AssertionError("two at once")
    with run.lock_run_folder(tmp_path):
        assert (tmp_path / "run.lock").exists()


# --- logins ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def seeded(tmp_path):
    """The configuration of a demonstration, where its logins are kept, and the call that seeds them."""
    config = load(demo.prepare(tmp_path, None))
    path = tmp_path / "demo-secrets.json"
    return config, path, lambda: seed(config, path, ManualClock())


def test_logins_are_random_kept_private_and_the_same_the_second_time(seeded):
    _, path, again = seeded
    logins = again()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["api_token"] == logins.api_token
    assert again() == logins
    path.unlink()
    other = again()
    assert {other.card, other.api_token, other.staff_password} & {
        logins.card,
        logins.api_token,
        logins.staff_password,
    } == set()


def test_every_login_works(seeded):
    config, _, again = seeded
    logins = again()
    assert ConsoleAccounts(Path(config.paths.state) / "console-staff.json", ManualClock()).check(
        "tech", logins.console_pin
    )
    database = admin.open_database(config)
    try:
        assert [(r.card, r.balance_fen) for r in admin.list_residents(database)] == [(logins.card, 5_000)]
        staff, tokens = admin.list_staff(database)
        assert ([(each.name, each.role) for each in staff], [token.name for token in tokens]) == (
            [("property", "operator")],
            ["demo"],
        )
    finally:
        database.close()


def test_lost_database_gets_the_same_logins_again(seeded):
    config, _, again = seeded
    logins = again()
    for file in Path(config.paths.state).iterdir():
        file.unlink()
    after = again()
    assert (after.card, after.pin, after.staff_password, after.console_pin) == (
        logins.card,
        logins.pin,
        logins.staff_password,
        logins.console_pin,
    )
    assert after.api_token != logins.api_token, "a token cannot be given a value, so a new one was made and kept"
    assert again() == after


def test_damaged_secrets_say_what_to_do(seeded):
    _, path, again = seeded
    path.write_text("{}")
    with pytest.raises(CabinetError, match="delete it to have new logins made"):
        again()


# --- the greeting ----------------------------------------------------------------------------------------------------


def test_greeting_of_a_demonstration_shows_every_way_in(tmp_path):
    config = load(demo.prepare(tmp_path, None))
    text = "\n".join(banner_lines(config, ".venv/bin/cabinet", "http://127.0.0.1:8080", LOGINS, "miniterm /dev/pts/7"))
    for needed in (
        "http://127.0.0.1:8080/s/C5T4", "card 12345678, PIN 471108",
        "http://127.0.0.1:8080/property", "name property, password secret",
        "curl -H 'Authorization: Bearer token' http://127.0.0.1:8080/api/v1/usage",
        "miniterm /dev/pts/7", "login tech, PIN 081547",
        ".venv/bin/cabinet sim plug 3 demo", ".venv/bin/cabinet sim fault 3 short --amps 60", "Ctrl-C stops",
    ):  # fmt: skip
        assert needed in text


def test_greeting_of_a_real_cabinet_shows_no_secret_and_no_simulator():
    text = "\n".join(banner_lines(parse(example()), "cabinet", "http://192.168.1.20:8080", None, None))
    assert "http://192.168.1.20:8080/s/C5T4" in text
    assert not any(word in text for word in ("PIN", "password", "Bearer", "sim plug"))


class GoneTerminal(io.TextIOBase):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_terminal_that_is_gone_stops_the_run(tmp_path, monkeypatch):
    """`cabinet run | head` ends in an orderly stop, not in a traceback."""
    watched = run.CabinetProcesses(tmp_path / "cabinet.toml", load(demo.prepare(tmp_path, None)), None, verbose=False)
    monkeypatch.setattr("sys.stdout", GoneTerminal())
    watched._say("run", "anything")
    watched._say("run", "goes nowhere")
    assert watched._stop.is_set()
