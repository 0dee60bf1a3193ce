"""The computers the product is promised for: which board is which, which period each holds, what its files report."""

from pathlib import Path

import pytest
from msgspec import structs

from cabinet.clock import MS, NS
from cabinet.config import Config
from cabinet.main import main
from cabinet.model import GuardHealth
from cabinet.system.computer_state import computer_problems, computer_root, guard_problems
from cabinet.system.computers import (
    COMPUTERS,
    MAX_PERIOD_NS,
    MAX_POLLED_TURN_NS,
    ComputerModel,
    load_here,
    period_problems,
    this_computer,
    transfers,
)
from cabinet_testing.sim_cabinet import demo_config

FAST = ComputerModel("a fast one", (), 0.1, 5_000, 10_000)
HEALTH = GuardHealth(True, 1, 0, 0, 2000, 0, 0, period_us=3000)


def put(root: Path, name: str, content: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def cabinet(period_s: float = 0.003, polled: tuple[int, ...] = ()) -> Config:
    config = demo_config()
    outlets = tuple(structs.replace(o, alert=None) if o.number in polled else o for o in config.outlet)
    guard = structs.replace(config.guard, scan_period_s=period_s)
    return structs.replace(config, guard=guard, outlet=outlets)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", "pi5"),
        ("Raspberry Pi 500 Rev 1.0\0", "pi5"),
        ("Raspberry Pi 4 Model B Rev 1.5\0", "pi4"),
        ("Raspberry Pi 400 Rev 1.0\0", "pi4"),
        ("Raspberry Pi 4 Model B Rev 1.1\0", "pi4-1500"),
        ("Raspberry Pi Compute Module 4 Rev 1.0\0", "pi4-1500"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3\0", None),
        ("VMware, Inc.", None),
    ],
)
def test_board_is_known_by_its_device_tree(tmp_path, model, name):
    put(tmp_path, "proc/device-tree/model", model)
    assert this_computer(tmp_path) is COMPUTERS.get(name or "")


def test_computer_without_a_device_tree_is_not_judged(tmp_path):
    assert this_computer(tmp_path) is None


def test_turn_of_ten_outlets_has_seventeen_transfers():
    """Issued by the guard: five channels with two outlets each, one more for the feed's meter on channel 5."""
    assert transfers(demo_config()) == 18


@pytest.mark.parametrize("name", COMPUTERS)
def test_slower_clock_makes_every_part_of_a_turn_longer(name):
    computer = COMPUTERS[name]
    assert computer.turn_ns(demo_config()) > FAST.turn_ns(demo_config())
    assert MS < computer.period_ns(demo_config()) <= MAX_PERIOD_NS
    assert computer.own_ns(20) == 2 * computer.own_ns(10) == 2 * computer.own_ns(2)


def test_period_that_the_computer_cannot_hold_is_refused_with_the_one_that_it_holds():
    computer = COMPUTERS["pi5"]
    (problem,) = period_problems(cabinet(0.001), computer)
    assert str(problem).startswith("guard.scan_period_s: Raspberry Pi 5, 10 outlets: a turn takes about ")
    needed = float(str(problem).partition("at least ")[2])
    assert needed == pytest.approx(computer.period_ns(cabinet()) / 1e9)
    assert period_problems(cabinet(needed), computer) == []


def test_slow_computer_demands_alert_lines_and_names_the_outlets():
    computer = COMPUTERS["pi4"]
    assert computer.turn_ns(cabinet()) > MAX_POLLED_TURN_NS
    (problem,) = period_problems(cabinet(0.005, polled=(3, 7)), computer)
    assert problem.key_path == "outlet.alert"
    assert str(problem).endswith("an alert line is needed at outlet 3, 7")
    assert period_problems(cabinet(0.005), computer) == []
    assert period_problems(cabinet(0.003, polled=(3, 7)), FAST) == [], "a fast one polls in time"


@pytest.mark.parametrize("written", ["", "scan_period_s = 0.0045"])
def test_without_a_period_in_the_file_the_guard_takes_the_one_that_the_computer_holds(tmp_path, written):
    file = tmp_path / "cabinet.toml"
    text = Path("cabinet/examples/cabinet.toml").read_text()
    file.write_text(text.replace("# scan_period_s = 0.003", written))
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    assert load_here(file, tmp_path).guard.scan_period_s == (0.0045 if written else 0.003), "no known computer"
    (tmp_path / "proc/device-tree/model").write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    config = load_here(file, tmp_path)
    assert config.guard.scan_period_s == (0.0045 if written else COMPUTERS["pi4"].period_ns(config) / NS)
    assert period_problems(config, COMPUTERS["pi4"]) == []


def test_period_of_a_turn_that_no_period_holds_is_the_longest():
    slow = structs.replace(FAST, ns_per_instruction=15.0)
    assert slow.period_ns(cabinet()) == MAX_PERIOD_NS
    (problem,) = period_problems(cabinet(0.003), slow)
    assert str(problem).endswith("at least 0.005, the longest; it is then scanned without a pause")
    assert period_problems(cabinet(0.005), slow) == []


def test_check_judges_the_computer_it_runs_on_unless_told_not_to(tmp_path, monkeypatch, capsys):
    text = Path("cabinet/examples/cabinet.toml").read_text()
    file = tmp_path / "cabinet.toml"
    file.write_text(text.replace("# scan_period_s = 0.003", "scan_period_s = 0.001"))
    assert main(["check", str(file)]) == 0, "nothing is known of this machine"
    monkeypatch.setattr("cabinet.commands.check.this_computer", lambda: COMPUTERS["pi4"])
    capsys.readouterr()
    assert main(["check", str(file)]) == 1
    assert "guard.scan_period_s: Raspberry Pi 4" in capsys.readouterr().err
    assert main(["check", "--any-computer", str(file)]) == 0


def pi(root: Path, governor: str = "performance") -> Path:
    put(root, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    put(root, "sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    put(root, "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    put(root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    put(root, "sys/class/thermal/thermal_zone0/temp", "61835\n")
    put(root, "sys/devices/system/cpu/cpufreq/policy0/scaling_governor", f"{governor}\n")
    return root


def test_healthy_computer_has_no_problem(tmp_path):
    assert computer_problems(pi(tmp_path)) == []
    assert computer_problems(tmp_path / "none of the files") == []


def test_low_voltage_heat_and_a_slow_governor_are_problems(tmp_path):
    pi(tmp_path, "ondemand")
    put(tmp_path, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "80000\n")
    assert computer_problems(tmp_path) == ["undervoltage", "hot", "governor"]


def test_governor_of_a_computer_that_is_no_pi_is_its_own_affair(tmp_path):
    put(pi(tmp_path, "schedutil"), "proc/device-tree/model", "some other board")
    assert computer_problems(tmp_path) == []


def test_simulated_cabinet_has_files_of_its_own():
    config = demo_config()
    assert computer_root(config) == Path(config.paths.run) / "computer"
    hardware = structs.replace(config.hardware, bus="/dev/i2c-1", pin_factory="lgpio")
    assert computer_root(structs.replace(config, hardware=hardware)) == Path("/")


def test_slow_bus_and_a_turn_over_its_period_are_problems():
    config = demo_config()
    assert guard_problems(HEALTH, config) == [], "nothing measured yet"
    good = structs.replace(HEALTH, bus_hz=375_000, turn_p99_us=3000)
    assert guard_problems(good, config) == []
    assert guard_problems(structs.replace(good, bus_hz=160_000), config) == ["bus_slow"]
    assert guard_problems(structs.replace(good, turn_p99_us=3100), config) == ["turn_long"]


def test_turn_of_a_cabinet_with_the_longest_period_may_be_longer():
    config = cabinet(0.005)
    health = structs.replace(HEALTH, period_us=5000, turn_p99_us=11_000)
    assert guard_problems(health, config) == []
