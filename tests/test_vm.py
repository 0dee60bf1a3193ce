"""The virtual machine's test bed, as far as it goes without starting one: scenarios, report, what is on the disk."""

import configparser
from pathlib import Path

import pytest

from cabinet.config import parse
from vm import report
from vm.harness import Failed, Figure, VmHarness
from vm.machine import Machine
from vm.scenarios import ORDER, module_of
from vm.scenarios.power_cut import COMING_BACK, IN_CHARGE, Cut, in_charge

ROOT = Path(__file__).parents[1]
GUEST = ROOT / "vm" / "guest"


def test_every_scenario_is_in_the_order_and_says_what_it_shows():
    modules = {path.stem for path in (ROOT / "vm/scenarios").glob("*.py")} - {"__init__"}
    assert modules == set(ORDER)
    for name in ORDER:
        module = module_of(name)
        assert module.PROMISE
        assert module.BEFORE in ("base", "installed", "booted", "charging")


@pytest.mark.parametrize(("bus", "pins"), [("/dev/i2c-1", "lgpio"), ("sim", "sim")])
def test_configuration_of_the_bench_is_one_that_the_product_takes(bus, pins):
    text = (GUEST / "cabinet.toml").read_text(encoding="utf-8")
    config = parse(
        text.replace("@BUS@", bus).replace("@PINS@", pins).replace("@RUN@", "/run/cabinet").replace("@PORT@", "pty")
    )
    assert (config.hardware.bus, len(config.outlet)) == (bus, 2)


def test_guard_of_the_bench_waits_for_its_hardware_by_the_benchs_units_only():
    """The product's own units are installed as they are: what makes them wait is outside of them."""
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.read(GUEST / "bench-hardware.service")
    assert "cabinet-guard.service" in unit["Unit"]["Before"]


def off() -> Machine:
    """Return a machine that was never started."""
    return Machine.__new__(Machine)


def test_what_is_not_as_promised_is_a_failure():
    harness = VmHarness(off(), off, seed=1)
    harness.shows("the sky is blue", True)
    with pytest.raises(Failed, match="not so: pigs fly"):
        harness.shows("pigs fly", False)
    assert harness.shown == ["the sky is blue"]


def test_figure_above_its_bar_is_a_failure_and_is_reported():
    harness = VmHarness(off(), off, seed=1)
    harness.measured("a", 1.0, "s", 2.0)
    with pytest.raises(Failed, match="at most 2"):
        harness.measured("b", 3.0, "s", 2.0)
    assert harness.figures == [Figure("a", 1.0, "s", 2.0), Figure("b", 3.0, "s", 2.0)]


def row(name: str, problem: str = "") -> report.Row:
    return report.Row(
        name, f"promise of {name}", "2026-11-25", "abc123", 12.0, ["it is so"], [Figure("x", 1.5, "ms", 2.0)], problem
    )


def test_report_says_what_failed_and_what_was_never_run():
    rows = {
        "install": row("install"),
        "first_boot": row("first_boot", "not so: pigs fly"),
        "commission, seed 7": row("commission, seed 7"),
    }
    found = report.Report(
        "2 cores", {"bookworm-amd64": rows, "bookworm-arm64": {"install": row("install", "not so: rain")}}
    )
    page = report.page(found, ["install", "first_boot", "commission", "ten_charges"])
    assert "| install | promise of install | yes | 2026-11-25, 12 s | abc123 |" in page
    assert "| first_boot | promise of first_boot | **no** |" in page
    assert "not so: pigs fly" in page
    assert "Not run yet: first_boot, commission." in page
    assert "Not run yet: install, commission, ten_charges." in page
    assert "| x | 1.5 ms | 2 |" in page
    assert "| install | yes | **no** |\n| - x | 1.5 ms | 1.5 ms |\n| first_boot | **no** |  |" in page
    assert "# Debian 12 on arm64" in page
    assert "# Debian 13" not in page


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ("b 1\nc 1\nd 1\n", [0, 1, 2]),
        ("b 0\nc 1\nd 0\n", [1]),
        ("b 1\nb 0\nc 0\nd 0\n", [0]),  # its service was started twice
        ("c 1\nd 0\n", [0, 1]),  # the second machine was killed before its service started
        ("", []),
    ],
)
def test_power_cut_counts_as_one_in_a_charge_by_what_it_left_on_the_disk(said, counted):
    cuts = [Cut(IN_CHARGE, "a"), Cut(COMING_BACK, "b"), Cut(IN_CHARGE, "c")]
    assert in_charge(cuts, "d", said) == [cuts[at] for at in counted]
