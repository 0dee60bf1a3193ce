"""Problems of the computer that make it slow: supply voltage, heat, clocks, and a bus or a turn that shows it.

The flags are files of the kernel. `in0_lcrit_alarm` of the hwmon device `rpi_volt` is the firmware's flag of low
voltage (drivers/hwmon/raspberrypi-hwmon.c, every two seconds). Heat is read as temperature: the firmware lowers the
clocks from 80 °C on (raspberrypi/documentation, config_txt/overclocking.adoc). The file `get_throttled` has both, but
is deprecated: reading it writes a warning with a stack trace into the kernel's log (drivers/firmware/raspberrypi.c).
"""

from pathlib import Path

from cabinet.config import Config
from cabinet.model import GuardHealth
from cabinet.system.computers import MAX_PERIOD_NS, this_computer

THROTTLED_MC = 80_000
GOVERNOR = "performance"
SLOW_BUS_SHARE = 0.75  # of the configured clock; a true clock of 375 kHz for 400 is the divider's rounding


def computer_root(config: Config) -> Path:
    """Return the root of the kernel's files: `/`, or a folder for the files of a simulated cabinet's computer."""
    return Path(config.paths.run) / "computer" if config.simulated else Path("/")


def computer_problems(root: Path) -> list[str]:
    """Return the codes of the present problems, texts `computer.<code>.staff`. A file that is missing is no problem."""
    problems = []
    voltages = [path for path in root.glob("sys/class/hwmon/hwmon*") if _content(path / "name") == "rpi_volt"]
    if any(_content(path / "in0_lcrit_alarm") == "1" for path in voltages):
        problems.append("undervoltage")
    temperature = _content(root / "sys/class/thermal/thermal_zone0/temp")
    if temperature.isdigit() and int(temperature) >= THROTTLED_MC:
        problems.append("hot")
    governors = root.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_governor")
    if this_computer(root) is not None and any(_content(path) not in ("", GOVERNOR) for path in governors):
        problems.append("governor")
    return problems


def guard_problems(health: GuardHealth, config: Config) -> list[str]:
    """Return the codes of the problems that the guard has measured."""
    problems = []
    if health.bus_hz is not None and is_slow_bus(health.bus_hz, config):
        problems.append("bus_slow")
    # A larger cabinet has the longest period and is scanned without a pause: its turn is longer by design.
    period_us = health.period_us
    if health.turn_p99_us is not None and period_us * 1000 < MAX_PERIOD_NS and health.turn_p99_us > period_us:
        problems.append("turn_long")
    return problems


def all_problems(config: Config, health: GuardHealth | None) -> list[str]:
    """Return the problems from the kernel's files, then those that the guard has measured, if it is there."""
    return computer_problems(computer_root(config)) + ([] if health is None else guard_problems(health, config))


def is_slow_bus(bus_hz: int, config: Config) -> bool:
    """Return whether the bus is clearly slower than configured."""
    return bus_hz < SLOW_BUS_SHARE * config.hardware.bus_speed_hz


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
