"""Reads `cabinet.toml` and finds everything wrong with it: one `ConfigError` a mistake, each with its key's path.

A path counts tables from 1, as people do: `outlet[3].relay` is in the third `[[outlet]]` table.
"""

import difflib
import re
import tomllib
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from cabinet.config.keys import Config, Outlet, Section, Tariff
from cabinet.errors import ConfigError, ConfigErrors

UNITS = {
    "_a": "ampere", "_v": "volt", "_w": "watt", "_s": "second", "_c": "degree Celsius", "_k": "kelvin",
    "_hz": "hertz", "_fen": "fen (0.01 yuan)", "_k_per_min": "kelvin a minute", "_fen_per_kwh": "fen a kWh",
    "_fen_per_hour": "fen an hour", "_minutes": "minute", "_share": "share of 1",
}  # fmt: skip

METER_ADDRESS = 0x38  # ADE7953 data sheet p. 53: fixed, no address pins
RESERVED_PINS = {2: "I2C SDA", 3: "I2C SCL"}

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")


def load(path: Path) -> Config:
    """The checked configuration in `path`. Raises ConfigErrors, also where the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read: {error.strerror if isinstance(error, OSError) else 'not UTF-8'}"
        raise ConfigErrors(str(path), [ConfigError("file", problem)]) from error
    return parse(text, str(path))


def parse(text: str, source: str = "cabinet.toml") -> Config:
    """The configuration in `text`; raises ConfigErrors with every mistake found."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors(source, [ConfigError("file", f"not valid TOML: {error}")]) from error
    config, errors = _decode(raw)
    if config is not None:
        errors.extend(_contradictions(config))
    if config is None or errors:
        raise ConfigErrors(source, errors)
    return config


def _decode(raw: dict[str, Any]) -> tuple[Config | None, list[ConfigError]]:
    """Decode, and after a mistake leave that key out and look for the next one."""
    errors: list[ConfigError] = []
    while True:
        try:
            return msgspec.convert(raw, Config), errors
        except msgspec.ValidationError as error:
            match = _WHERE.match(str(error))
            assert match is not None  # the pattern matches every text
            steps = [
                step["key"] if step["key"] is not None else step["index"]
                for step in _STEP.finditer(match["path"] or "")
            ]
            found, culprit = _explain(match["what"], steps, raw)
            if any(found.key_path == earlier.key_path for earlier in errors):
                return None, errors  # the key left out before was a required one
            errors.append(found)
            if culprit is None or not _leave_out(raw, culprit):
                return None, errors


def _explain(what: str, steps: list[str], raw: dict[str, Any]) -> tuple[ConfigError, list[str] | None]:
    """The mistake in our words, and the steps to the key to leave out (None: nothing to leave out)."""
    if unknown := re.search(r"unknown field `(.*)`", what):
        name = unknown[1]
        near = difflib.get_close_matches(name, _keys_of(steps), 1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        return ConfigError(_path([*steps, name]), f"unknown key{hint}"), [*steps, name]
    if missing := re.search(r"missing required field `(.*)`", what):
        return ConfigError(_path([*steps, missing[1]]), "is missing, and has no default"), None
    name = steps[-1] if steps else ""
    unit = next((UNITS[suffix] for suffix in sorted(UNITS, key=len, reverse=True) if name.endswith(suffix)), "")
    value = _value_at(raw, steps)
    problem = what[0].lower() + what[1:].replace("`", "")
    problem += f", got {value!r}" if ", got" not in problem else f" {value!r}"
    return ConfigError(_path(steps), problem + (f" (a plain number, unit {unit})" if unit else "")), steps


def _path(steps: list[str]) -> str:
    path = "".join(
        f"[{int(step) + 1}]" if step.isdigit() else f"[{step}]" if step == "..." else f".{step}" for step in steps
    )
    return path.removeprefix(".") or "file"


def _value_at(raw: Any, steps: list[str]) -> Any:
    for step in steps:
        try:
            raw = raw[int(step)] if isinstance(raw, list) else raw[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return "…"
    return raw


def _leave_out(raw: Any, steps: list[str]) -> bool:
    """Remove the key at `steps`; False where there is none to remove."""
    if not steps:
        return False
    parent = _value_at(raw, steps[:-1])
    if isinstance(parent, dict) and steps[-1] in parent:
        del parent[steps[-1]]
        return True
    if isinstance(parent, list) and steps[-1].isdigit() and int(steps[-1]) < len(parent):
        del parent[int(steps[-1])]
        return True
    return False


def _keys_of(steps: list[str]) -> list[str]:
    """Names of the keys that the table at `steps` may hold."""
    table: Any = Config
    for step in steps:
        if step.isdigit() or step == "...":
            continue
        table = _section_in(next((f.type for f in msgspec.structs.fields(table) if f.name == step), None))
        if table is None:
            return []
    return [field.name for field in msgspec.structs.fields(table)]


def _section_in(annotation: Any) -> type[Section] | None:
    """The Section class inside `annotation`, through Annotated, tuple and | None."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part)) is not None), None)


def _contradictions(config: Config) -> Iterator[ConfigError]:
    """Mistakes that only show when keys are looked at together."""
    yield from _twice(config)
    yield from _wrong_wiring(config)
    yield from _address_conflicts(config)
    yield from _wrong_limits(config)
    yield from _tariff_gaps(config.tariff)
    try:
        zoneinfo.ZoneInfo(config.site.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        yield ConfigError("site.timezone", f"{config.site.timezone!r} is no known IANA time zone")


def _twice(config: Config) -> Iterator[ConfigError]:
    """Two outlets that share what only one can have."""
    for key, of in (
        ("number", lambda outlet: outlet.number),
        ("code", lambda outlet: outlet.code),
        ("relay", lambda outlet: outlet.relay),
        ("meter", lambda outlet: (outlet.meter.mux, outlet.meter.channel, outlet.meter.input)),
    ):
        seen: dict[object, int] = {}
        for index, outlet in enumerate(config.outlet, 1):
            first = seen.setdefault(of(outlet), index)
            if first != index:
                yield ConfigError(f"outlet[{index}].{key}", f"the same as outlet[{first}].{key}")


def _pins(config: Config) -> Iterator[tuple[str, int]]:
    hardware = config.hardware
    for name in ("mux_reset_pin", "contactor_pin", "heartbeat_pin"):
        if (pin := getattr(hardware, name)) is not None:
            yield f"hardware.{name}", pin
    for index, outlet in enumerate(config.outlet, 1):
        if outlet.relay.startswith("gpio:"):
            yield f"outlet[{index}].relay", int(outlet.relay.removeprefix("gpio:"))
        if outlet.alert_pin is not None:
            yield f"outlet[{index}].alert_pin", outlet.alert_pin


def _wrong_wiring(config: Config) -> Iterator[ConfigError]:
    taken: dict[int, str] = {}
    for path, pin in _pins(config):
        if pin in RESERVED_PINS:
            yield ConfigError(path, f"GPIO {pin} is {RESERVED_PINS[pin]}")
        elif pin > 27:
            yield ConfigError(path, f"GPIO {pin} does not exist on the header (0 to 27)")
        elif pin in taken and not (path.endswith("relay") and taken[pin].endswith("relay")):  # those: see `_twice`
            yield ConfigError(path, f"GPIO {pin} is taken by {taken[pin]}")
        taken.setdefault(pin, path)
    if (config.hardware.bus == "sim") != (config.hardware.pin_factory == "sim"):
        yield ConfigError("hardware.pin_factory", "bus and pin_factory are simulated together or not at all")
    for index, outlet in enumerate(config.outlet, 1):
        if outlet.relay.startswith("expander:"):
            address = int(outlet.relay.split(":")[1].split("/")[0], 16)
            if address not in config.hardware.expanders:
                yield ConfigError(f"outlet[{index}].relay", f"0x{address:02x} is not in hardware.expanders")
        for name, place in (("meter", outlet.meter), ("thermometer", outlet.thermometer)):
            if place is not None and place.mux not in config.hardware.muxes:
                yield ConfigError(f"outlet[{index}].{name}.mux", f"0x{place.mux:02x} is not in hardware.muxes")


def _address_conflicts(config: Config) -> Iterator[ConfigError]:
    """A mux joins a segment with the upstream bus: no chip behind one may share an address with a chip before it."""
    upstream: dict[int, str] = {}
    for name in ("expanders", "muxes"):
        for index, address in enumerate(getattr(config.hardware, name), 1):
            path = f"hardware.{name}[{index}]"
            if address in upstream:
                yield ConfigError(path, f"address 0x{address:02x} is taken by {upstream[address]}")
            upstream.setdefault(address, path)
    if (inside := config.hardware.inside_thermometer) is not None:
        if inside in upstream:
            yield ConfigError("hardware.inside_thermometer", f"address 0x{inside:02x} is taken by {upstream[inside]}")
        upstream.setdefault(inside, "hardware.inside_thermometer")
    clashes: dict[tuple[str, int], list[int]] = {}
    for index, outlet in enumerate(config.outlet, 1):
        for name, address in _behind_mux(outlet):
            if address in upstream:
                clashes.setdefault((name, address), []).append(index)
    for (name, address), (first, *others) in clashes.items():  # one mistake is one line, however many outlets share it
        also = f" (outlets {', '.join(f'[{index}]' for index in others)} too)" if others else ""
        yield ConfigError(
            f"outlet[{first}].{name}", f"address 0x{address:02x} is taken upstream by {upstream[address]}{also}"
        )


def _behind_mux(outlet: Outlet) -> Iterator[tuple[str, int]]:
    yield "meter", METER_ADDRESS
    if outlet.thermometer is not None:
        yield "thermometer.address", outlet.thermometer.address


def _wrong_limits(config: Config) -> Iterator[ConfigError]:
    protections = config.protections
    for lower, upper, path in (
        (protections.outlet_hot.warn_c, protections.outlet_hot.trip_c, "protections.outlet_hot.warn_c"),
        (protections.voltage.lowest_v, protections.voltage.highest_v, "protections.voltage.lowest_v"),
        (protections.short_circuit.peak_a, protections.short_circuit.hard_peak_a, "protections.short_circuit.peak_a"),
        (protections.short_circuit.hard_peak_a, config.hardware.current_full_scale_a,
         "protections.short_circuit.hard_peak_a"),
    ):  # fmt: skip
        if lower >= upper:
            yield ConfigError(path, f"{lower:g} must be below {upper:g}")


def _tariff_gaps(tariff: Tariff) -> Iterator[ConfigError]:
    """Every power and every minute of the day must have exactly one price."""
    expected: int | None = 0
    for index, band in enumerate(tariff.time_bands, 1):
        path = f"tariff.time_bands[{index}]"
        if expected is None:
            yield ConfigError(path, f"comes after a band without an upper end (to_w of band {index - 1})")
            return
        if band.from_w != expected:
            word = "gap" if band.from_w > expected else "overlap"
            yield ConfigError(
                f"{path}.from_w", f"{word}: starts at {band.from_w} W, the band before ends at {expected} W"
            )
        if band.to_w is not None and band.to_w <= band.from_w:
            yield ConfigError(f"{path}.to_w", f"{band.to_w} W is not above from_w {band.from_w} W")
        expected = band.to_w
    if not tariff.time_bands:
        yield ConfigError("tariff.time_bands", "no band: give one from_w = 0 without to_w (0 fen, if time is free)")
    elif expected is not None:
        yield ConfigError("tariff.time_bands", f"gap: no price from {expected} W up; leave to_w out of the last band")
    clock = 0
    for index, period in enumerate(tariff.energy_periods, 1):
        path = f"tariff.energy_periods[{index}]"
        start, end = minute_of_day(period.start), minute_of_day(period.end)
        if start != clock:
            word = "gap" if start > clock else "overlap"
            yield ConfigError(
                f"{path}.start", f"{word}: starts at {period.start}, expected {clock // 60:02}:{clock % 60:02}"
            )
        if end <= start:
            yield ConfigError(f"{path}.end", f"{period.end} is not after {period.start}")
        clock = end
    if clock != 24 * 60:
        yield ConfigError("tariff.energy_periods", f"gap: no price from {clock // 60:02}:{clock % 60:02} to 24:00")
    if tariff.cap_fen is not None and tariff.cap_fen < tariff.minimum_fen:
        yield ConfigError("tariff.cap_fen", f"{tariff.cap_fen} is below minimum_fen {tariff.minimum_fen}")


def minute_of_day(text: str) -> int:
    """Minutes since midnight of "HH:MM"."""
    return int(text[:2]) * 60 + int(text[3:])
