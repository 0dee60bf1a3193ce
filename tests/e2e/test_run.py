"""`cabinet run` as a newcomer meets it: one command up, what it prints is true, Ctrl-C takes everything down."""

import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow

WITHIN_S = 120.0  # only keeps a broken build from hanging


class Running:
    """A `cabinet run` in a folder of its own, and what it has printed so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = ""
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "cabinet.main", "run", "--state", str(folder), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    def until(self, pattern: str) -> re.Match[str]:
        """The match of `pattern` in what is printed; everything up to its end is taken."""
        assert self.popen.stdout is not None
        while (found := re.search(pattern, self.output, re.MULTILINE)) is None:
            assert select.select([self.popen.stdout], [], [], WITHIN_S)[0], f"no {pattern!r} in:\n{self.output}"
            data = os.read(self.popen.stdout.fileno(), 65_536)
            assert data, f"ended without {pattern!r}:\n{self.output}"
            self.output += data.decode()
        self.output = self.output[found.end() :]
        return found

    def command(self, *words: str) -> str:
        config = str(self.folder / "cabinet.toml")
        done = subprocess.run(
            [sys.executable, "-m", "cabinet.main", *words, "--config", config],
            capture_output=True, text=True, timeout=WITHIN_S, check=True,
        )  # fmt: skip
        return done.stdout

    def child(self, *words: str) -> int:
        """Process id of the child that was started with these words."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1] if arguments else ""
                if parent == str(self.popen.pid) and [word.encode() for word in words] == arguments[3 : 3 + len(words)]:
                    return int(entry.name)
        raise AssertionError(f"no child {words}")

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()]

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGINT)
        return self.popen.wait(WITHIN_S)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Running]:
    run = Running(folder)
    try:
        yield run
    finally:
        if run.popen.poll() is None:
            run.popen.kill()
            run.popen.wait()
        assert run.popen.stdout is not None
        run.popen.stdout.close()


def may_read(page: str, name: str, password: str) -> bool:
    """Return whether the property page admits this login."""
    with httpx.Client(follow_redirects=True) as client:
        form = client.get(page)
        assert "password" in form.text
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form.text))
        fields = {**hidden, "name": name, "password": password}
        inside = client.post(str(form.url), data=fields, headers={"Referer": str(form.url)})
        return inside.status_code == 200 and 'type="password"' not in inside.text


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_everything_it_prints_is_true_and_ctrl_c_ends_it_in_order(tmp_path):
    with running(tmp_path / "var") as run:
        resident = run.until(r"resident +(http://\S+)")[1]
        run.until(r"card \d+, PIN \d+$")
        page = run.until(r"property +(http://\S+)")[1]
        name, password = run.until(r"name (\S+), password (\S+)$").groups()
        curl = shlex.split(run.until(r"usage API +curl (.*)$")[1])
        device = run.until(r"console .*miniterm --raw (\S+) 115200$")[1]
        run.until(r"login tech, PIN \d+")
        plug = shlex.split(run.until(r"plug a bike +(.*?)   \(")[1])
        run.until(r"the truth ")

        assert httpx.get(resident).status_code == 200
        option, header, address = curl
        assert option == "-H"
        assert httpx.get(address, headers=dict([header.split(": ")])).status_code == 200
        assert may_read(page, name, password)
        assert Path(device).is_char_device()
        assert plug[-4:] == ["sim", "plug", "3", "demo"]
        assert "demo" in run.command(*plug[-4:])
        assert "demo" in run.command("sim", "state")

        victim = run.child("serve")
        os.kill(victim, signal.SIGKILL)
        run.until(r"run +service was killed by SIGKILL: starting it again in 0\.5 s$")
        run.until(r"run +service is back$")
        children = run.children()
        assert len(children) == 4
        assert victim not in children

        assert run.stop() == 0
        run.until(r"run +stopping: console, service, guard, simulator$")
        run.until(r"run +stopped$")
        assert [pid for pid in children if alive(pid)] == []


def test_second_run_shows_the_same_logins_and_two_at_once_are_refused(tmp_path):
    logins = []
    for _ in range(2):
        with running(tmp_path) as run:
            logins.append(run.until(r"card \d+, PIN \d+$")[0] + run.until(r"login tech, PIN \d+")[0])
            run.until(r"the truth ")
            with running(tmp_path) as other:
                other.until(r"another cabinet run is at work there; stop it, or give --state DIR$")
                assert other.popen.wait(WITHIN_S) == 1
            assert run.stop() == 0
    assert logins[0] == logins[1]


def test_configuration_broken_while_it_runs_ends_it_with_the_mistake(tmp_path):
    with running(tmp_path) as run:
        run.until(r"the truth ")
        path = tmp_path / "cabinet.toml"
        path.write_text(path.read_text() + "\n[guard]\nspeed = 1\n")
        os.kill(run.child("console"), signal.SIGKILL)
        run.until(r"run +stopped$")
        run.until(r"cabinet\.toml: guard\.speed: unknown key$")
        assert run.popen.wait(WITHIN_S) == 1
