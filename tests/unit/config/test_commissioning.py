"""A cabinet without a configuration: the console runs and says so; a wrong one is no new cabinet."""

import pytest

from cabinet.config.commissioning import load_or_commission, uncommissioned
from cabinet.config.reference import example
from cabinet.errors import ConfigErrors
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.console_snapshots import snapshot
from cabinet_testing.fake_guard import FakeGuard


def test_new_cabinet_says_so_before_anybody_logs_in(tmp_path):
    config = load_or_commission(tmp_path / "cabinet.toml")
    console = ConsoleHarness(FakeGuard.showing(snapshot()), tmp_path, name="", config=config)
    assert "尚未配置 (NEW)" in console.shell.greet().text


def test_console_of_a_new_cabinet_is_on_the_pis_serial_port():
    assert (uncommissioned().console.port, uncommissioned().console.baud) == ("/dev/serial0", 115_200)


def test_configuration_counts_as_soon_as_it_is_there(tmp_path):
    path = tmp_path / "cabinet.toml"
    path.write_text(example())
    assert load_or_commission(path).site.site_id == "SG-1"


def test_wrong_configuration_is_not_a_new_cabinet(tmp_path):
    path = tmp_path / "cabinet.toml"
    path.write_text("")
    with pytest.raises(ConfigErrors):
        load_or_commission(path)
