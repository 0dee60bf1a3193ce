"""Every kind of mistake in `cabinet.toml` is one line that says where; a good file has none."""

import math
import re
from importlib import resources
from pathlib import Path

import pytest

from cabinet.config import load, parse
from cabinet.config.wiring import OUTPUT_ONLY
from cabinet.errors import ConfigErrors

DEMO = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")

WITH_ALERTS = "alert_expanders = [{ address = 0x20, interrupt_pin = 14 }]\n"
OTHER_ALERTS = WITH_ALERTS.replace("0x20", "0x21")
NO_INPUT = (
    "no input: its maker's data sheet (DS20001952D, 2022) allows it as an output only, as its level may spoil transfers"
    " on the bus; take another pin"
)


def changed(old: str, new: str) -> str:
    assert old in DEMO, f"the example no longer holds {old!r}"
    return DEMO.replace(old, new, 1)


def with_section(text: str) -> str:
    return f"{DEMO}\n{text}\n"


def mistakes(text: str) -> list[str]:
    """The lines without the file's name; empty for a good file."""
    try:
        parse(text, "f")
    except ConfigErrors as errors:
        lines = str(errors).splitlines()
        assert all(line.startswith("f: ") for line in lines)
        return [line.removeprefix("f: ") for line in lines]
    return []


@pytest.mark.parametrize("name", ["demo.toml", "cabinet.toml"])
def test_packaged_examples_are_good(name):
    assert mistakes(resources.files("cabinet.examples").joinpath(name).read_text(encoding="utf-8")) == []


ONE_MISTAKE = {
    "unknown key names the nearest one": (
        changed('bus = "sim"', 'bus = "sim"\nexpandres = [0x20]'),
        "hardware.expandres: unknown key; did you mean expanders?",
    ),
    "unknown key near nothing": (
        changed('bus = "sim"', 'bus = "sim"\nzzz = 1'),
        "hardware.zzz: unknown key",
    ),
    "unknown table": (with_section("[colours]"), "colours: unknown key"),
    "key in the wrong unit's name": (
        with_section("[protections.short_circuit]\npeak_ma = 30000"),
        "protections.short_circuit.peak_ma: unknown key; did you mean peak_a (in ampere)?",
    ),
    "number written with its unit": (
        with_section('[protections.overcurrent]\nrated_a = "5 A"'),
        "protections.overcurrent.rated_a: expected number, got text '5 A' (a plain number, unit ampere)",
    ),
    "number below its bound": (
        with_section("[protections.outlet_hot]\ntrip_c = 7"),
        "protections.outlet_hot.trip_c: expected number >= 40.0, got 7 (a plain number, unit degree Celsius)",
    ),
    "not a number": (
        with_section("[protections.outlet_hot]\ntrip_c = nan"),
        "protections.outlet_hot.trip_c: expected number >= 40.0, got nan (a plain number, unit degree Celsius)",
    ),
    "infinite limit": (
        with_section("[protections.short_circuit]\nhard_peak_a = inf"),
        "protections.short_circuit.hard_peak_a: expected number <= 1000.0, got inf (a plain number, unit ampere)",
    ),
    "true for a number": (
        with_section("[guard]\nsnapshot_hz = true"),
        "guard.snapshot_hz: expected whole number, got True (a plain number, unit hertz)",
    ),
    "value for a table": (
        with_section("[protections]\novercurrent = 5"),
        "protections.overcurrent: expected table, got whole number 5",
    ),
    "missing key": (changed('site_id = "DEMO-1"\n', ""), "site.site_id: is missing, and has no default"),
    "missing key of a repeated table": (
        changed('code = "C5T4"\n', ""),
        "outlet[3].code: is missing, and has no default",
    ),
    "two outlets on one pin of an expander": (
        changed("expander:0x20/2", "expander:0x20/1"),
        "outlet[3].relay: the same as outlet[2].relay",
    ),
    "two outlets on one meter input": (
        changed('mux = 0x70, channel = 1, input = "B"', 'mux = 0x70, channel = 1, input = "A"'),
        "outlet[4].meter: the same as outlet[3].meter",
    ),
    "two outlets with one number": (
        changed("number = 2", "number = 1"),
        "outlet[2].number: the same as outlet[1].number",
    ),
    "two outlets with one code": (changed("B3M9", "A7K2"), "outlet[2].code: the same as outlet[1].code"),
    "two outlets on one alert line": (
        changed('alert = "gpio:5"\n', 'alert = "gpio:4"\n'),
        "outlet[2].alert: GPIO 4 is taken by outlet[1].alert",
    ),
    "alert line on the contactor's pin": (
        changed('alert = "gpio:5"\n', 'alert = "gpio:17"\n'),
        "outlet[2].alert: GPIO 17 is taken by hardware.contactor_pin",
    ),
    "alert line at an expander that tells nobody": (
        changed('alert = "gpio:5"\n', 'alert = "expander:0x20/12"\n'),
        "outlet[2].alert: 0x20 is not in hardware.alert_expanders",
    ),
    "alert line on a relay's pin": (
        changed('alert = "gpio:5"\n', 'alert = "expander:0x20/9"\n').replace("muxes =", WITH_ALERTS + "muxes ="),
        "outlet[10].relay: pin 9 of 0x20 is taken by outlet[2].alert",
    ),
    "two alert lines on one pin of an expander": (
        changed('alert = "gpio:5"\n', 'alert = "expander:0x20/12"\n')
        .replace('"gpio:6"', '"expander:0x20/12"')
        .replace("muxes =", WITH_ALERTS + "muxes ="),
        "outlet[3].alert: pin 12 of 0x20 is taken by outlet[2].alert",
    ),
    "alert line at a pin that is no input, GPA7": (
        changed('alert = "gpio:5"\n', 'alert = "expander:0x21/7"\n').replace("muxes =", OTHER_ALERTS + "muxes ="),
        f"outlet[2].alert: pin 7 (GPA7) of an MCP23017 is {NO_INPUT}",
    ),
    "alert line at a pin that is no input, GPB7, of the relays' expander": (
        changed('alert = "gpio:5"\n', 'alert = "expander:0x20/15"\n').replace("muxes =", WITH_ALERTS + "muxes ="),
        f"outlet[2].alert: pin 15 (GPB7) of an MCP23017 is {NO_INPUT}",
    ),
    "interrupt of an expander on an alert line's pin": (
        changed("muxes =", "alert_expanders = [{ address = 0x21, interrupt_pin = 5 }]\nmuxes ="),
        "hardware.alert_expanders[1].interrupt_pin: GPIO 5 is taken by outlet[2].alert",
    ),
    "one alert expander twice": (
        changed("muxes =", WITH_ALERTS.replace("}]", "}, { address = 0x20, interrupt_pin = 15 }]") + "muxes ="),
        "hardware.alert_expanders[2].address: the same as hardware.alert_expanders[1].address",
    ),
    "relay on the heartbeat's pin": (
        changed("expander:0x20/4", "gpio:27"),
        "outlet[5].relay: GPIO 27 is taken by hardware.heartbeat_pin",
    ),
    "relay on the bus": (changed("expander:0x20/4", "gpio:2"), "outlet[5].relay: GPIO 2 is I2C SDA"),
    "relay beyond the header": (
        changed("expander:0x20/4", "gpio:28"),
        "outlet[5].relay: GPIO 28 does not exist on the header (0 to 27)",
    ),
    "relay on an expander that is not there": (
        changed("expander:0x20/4", "expander:0x21/4"),
        "outlet[5].relay: 0x21 is not in hardware.expanders",
    ),
    "meter behind a mux that is not there": (
        changed("meter = { mux = 0x70, channel = 2", "meter = { mux = 0x71, channel = 2"),
        "outlet[5].meter.mux: 0x71 is not in hardware.muxes",
    ),
    "one address twice upstream": (
        changed("expanders = [0x20]", "expanders = [0x20, 0x20]"),
        "hardware.expanders[2]: address 0x20 is taken by hardware.expanders[1]",
    ),
    "ten outlets' thermometers against one upstream are one line": (
        changed("inside_thermometer = 0x49", "inside_thermometer = 0x48"),
        "outlet[1].thermometer.address: address 0x48 is taken upstream by hardware.inside_thermometer "
        "(outlets [2], [3], [4], [5], [6], [7], [8], [9], [10] too)",
    ),
    "meters against one upstream": (
        changed("inside_thermometer = 0x49", "inside_thermometer = 0x38"),
        "outlet[1].meter: address 0x38 is taken upstream by hardware.inside_thermometer "
        "(outlets [2], [3], [4], [5], [6], [7], [8], [9], [10] too)",
    ),
    "half simulated": (
        changed('pin_factory = "sim"', 'pin_factory = "lgpio"'),
        "hardware.pin_factory: bus and pin_factory are simulated together or not at all",
    ),
    "gap between power bands": (
        changed("from_w = 200, to_w = 400", "from_w = 250, to_w = 400"),
        "tariff.time_bands[2].from_w: gap: starts at 250 W, the band before ends at 200 W",
    ),
    "overlap of power bands": (
        changed("from_w = 200, to_w = 400", "from_w = 150, to_w = 400"),
        "tariff.time_bands[2].from_w: overlap: starts at 150 W, the band before ends at 200 W",
    ),
    "no price for high power": (
        changed("from_w = 400, fen", "from_w = 400, to_w = 800, fen"),
        "tariff.time_bands: gap: no price from 800 W up; leave to_w out of the last band",
    ),
    "a band after the last": (
        changed("from_w = 200, to_w = 400", "from_w = 200"),
        "tariff.time_bands[3]: comes after a band without an upper end (to_w of band 2)",
    ),
    "gap in the day": (
        changed('start = "08:00", end = "22:00"', 'start = "09:00", end = "22:00"'),
        "tariff.energy_periods[2].start: gap: starts at 09:00, expected 08:00",
    ),
    "overlap in the day": (
        changed('start = "08:00", end = "22:00"', 'start = "07:30", end = "22:00"'),
        "tariff.energy_periods[2].start: overlap: starts at 07:30, expected 08:00",
    ),
    "day that ends early": (
        changed('end = "24:00"', 'end = "23:00"'),
        "tariff.energy_periods: gap: no price from 23:00 to 24:00",
    ),
    "cap below the minimum": (
        changed('version = "demo-2026-11"', 'version = "demo-2026-11"\nminimum_fen = 50\ncap_fen = 40'),
        "tariff.cap_fen: 40 is below minimum_fen 50",
    ),
    "negative cap": (
        changed('version = "demo-2026-11"', 'version = "demo-2026-11"\ncap_fen = -1'),
        "tariff.cap_fen: expected whole number >= 0, got -1 (a plain number, unit fen (0.01 yuan))",
    ),
    "warning above the trip": (
        with_section("[protections.outlet_hot]\nwarn_c = 80.0"),
        "protections.outlet_hot.warn_c: 80 must be below 75",
    ),
    "hard limit beyond what the meter can see": (
        with_section("[protections.short_circuit]\nhard_peak_a = 250.0"),
        "protections.short_circuit.hard_peak_a: 250 must be below 200",
    ),
    "unknown time zone": (
        changed('site_id = "DEMO-1"', 'site_id = "DEMO-1"\ntimezone = "Asia/Shangri-La"'),
        "site.timezone: 'Asia/Shangri-La' is no known IANA time zone",
    ),
}


@pytest.mark.parametrize(("text", "line"), ONE_MISTAKE.values(), ids=ONE_MISTAKE)
def test_one_mistake_is_one_line(text, line):
    assert mistakes(text) == [line]


def test_every_other_pin_of_an_expander_takes_an_alert_line_and_every_pin_a_relay():
    for pin in set(range(16)) - set(OUTPUT_ONLY):
        text = changed('alert = "gpio:5"\n', f'alert = "expander:0x21/{pin}"\n')
        assert mistakes(text.replace("muxes =", OTHER_ALERTS + "muxes =")) == []
    for pin in (7, 10, 15):
        assert mistakes(changed("expander:0x20/7", f"expander:0x20/{pin}")) == []


def test_all_mistakes_of_a_file_are_found_at_once():
    text = changed("muxes = [0x70]", 'muxes = ["0x70", 5]\nspeed = 1')
    text = text.replace('site_id = "DEMO-1"\n', "").replace('code = "C5T4"\n', "")
    assert mistakes(text) == [
        "site.site_id: is missing, and has no default",
        "hardware.muxes[1]: expected whole number, got text '0x70'",
        "hardware.muxes[2]: expected whole number >= 112, got 5",
        "hardware.speed: unknown key; did you mean bus_speed_hz (in hertz)?",
        "outlet[3].code: is missing, and has no default",
    ]


def test_conflicts_are_found_beside_a_wrong_value():
    text = changed("expander:0x20/2", "expander:0x20/1").replace('alert = "gpio:12"', "alert = 12")
    assert mistakes(text) == [
        "outlet[4].alert: expected text, got whole number 12",
        "outlet[3].relay: the same as outlet[2].relay",
    ]


def test_empty_file_lists_what_must_be_there():
    assert mistakes("") == [f"{key}: is missing, and has no default" for key in ("site", "outlet", "tariff")]


def test_bad_toml_says_where():
    (line,) = mistakes("a = 1\nb = = 2")
    assert re.fullmatch(r"file: not valid TOML: .*line 2, column \d+\)", line)


def test_file_that_is_not_utf8(tmp_path: Path):
    path = tmp_path / "cabinet.toml"
    path.write_bytes(DEMO.encode("gb18030"))
    with pytest.raises(ConfigErrors, match=rf"^{re.escape(str(path))}: file: cannot be read: not UTF-8$"):
        load(path)


def test_missing_file(tmp_path: Path):
    with pytest.raises(ConfigErrors, match=r"nowhere\.toml: file: cannot be read: No such file or directory$"):
        load(tmp_path / "nowhere.toml")


def test_folder_in_place_of_the_file(tmp_path: Path):
    with pytest.raises(ConfigErrors, match=r": file: cannot be read: Is a directory$"):
        load(tmp_path)


def test_defaults_are_inside_their_own_bounds():
    """A default is not checked when a file leaves the key out, so a file that spells every default must be good."""
    defaults = re.sub(r"\[protections\.guard_late\]\nafter_s = .*\n", "", DEMO)
    config = parse(defaults)
    spelt = "\n".join(
        f"[protections.{name}]\n" + "\n".join(f"{key} = {value!r}" for key, value in _values(table).items())
        for name, table in _values(config.protections).items()
    )
    assert parse(f"{defaults}\n{spelt}\n").protections == config.protections
    assert not any(
        math.isnan(value) for table in _values(config.protections).values() for value in _values(table).values()
    )


def _values(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
