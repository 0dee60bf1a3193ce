"""A cabinet without a configuration: everything that the console needs is there."""

import os
import pwd
import subprocess
import sys

from cabinet.system import run_folder
from cabinet.system.steward.client import StewardSocketClient
from cabinet.system.steward.protocol import SOCKET as STEWARD
from cabinet.system.steward.protocol import CancelReboot, RequestDone
from cabinet_testing.real_cabinet import Process

WHOEVER_TESTS = pwd.getpwuid(os.geteuid()).pw_name


def test_steward_serves_a_cabinet_that_is_not_commissioned(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("NEW_CABINET", str(tmp_path))
    words = ["steward", "--commissioning", "--user", WHOEVER_TESTS]
    steward = Process("steward", words, tmp_path, tmp_path / "cabinet.toml", module="cabinet_testing.new_cabinet")
    try:
        assert isinstance(
            StewardSocketClient(run_folder.steward_folder(tmp_path / "run") / STEWARD).ask(CancelReboot()), RequestDone
        )
    finally:
        status = steward.stop()
    assert status == 0


def test_steward_that_wants_a_configuration_says_which_file_is_missing(tmp_path):
    config = tmp_path / "cabinet.toml"
    words = [sys.executable, "-m", "cabinet.main", "steward", "--config", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(config) in done.stderr
