"""Fixtures of the simulator's tests; the classes behind them are in `sim_hardware`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cabinet_testing.sim_hardware import DEMO, cabinet, meter
from cabinet_testing.sim_server import RunningSimServer

__all__ = ["cabinet", "meter"]


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """The demo cabinet's configuration, with its sockets in a folder of this test."""
    path = tmp_path / "config" / "cabinet.toml"
    path.parent.mkdir()
    paths = f'[paths]\nrun = "{tmp_path}"\nstate = "{tmp_path}"\n\n'
    path.write_text(DEMO.read_text(encoding="utf-8").replace("[hardware]", paths + "[hardware]", 1), encoding="utf-8")
    return path


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSimServer]:
    running = RunningSimServer(tmp_path)
    yield running
    running.stop()
