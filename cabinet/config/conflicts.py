"""Conflicts between keys, such as two users of one pin. Pure."""

import ipaddress
import zoneinfo
from collections.abc import Iterator

import msgspec

from cabinet.config.keys import Config, OutletSection
from cabinet.config.tariff_mistakes import tariff_mistakes
from cabinet.config.wiring import OUTPUT_ONLY, PinRef
from cabinet.errors import ConfigError

METER_ADDRESS = 0x38  # ADE7953 data sheet p. 53: fixed, no address pins
CABINET_PINS = (
    "mux_reset_pin", "clock_out_pin", "contactor_pin", "heartbeat_pin", "smoke_pin", "water_pin", "residual_pin",
    "residual_test_pin", "siren_pin",
)  # fmt: skip
_NO_INPUT = (
    "no input: its maker's data sheet (DS20001952D, 2022) allows it as an output only, as its level may spoil transfers"
    " on the bus; take another pin"
)
RESERVED_PINS = {2: "I2C SDA", 3: "I2C SCL"}


def conflicts(config: Config) -> Iterator[ConfigError]:
    """Yield every conflict found, in the order of the file's sections."""
    yield from _twice(config)
    yield from _wrong_wiring(config)
    yield from _address_conflicts(config)
    yield from _wrong_limits(config)
    yield from _wrong_web(config)
    yield from tariff_mistakes(config.tariff, "tariff.")
    try:
        zoneinfo.ZoneInfo(config.site.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        yield ConfigError("site.timezone", f"{config.site.timezone!r} is no known IANA time zone")


def _wrong_web(config: Config) -> Iterator[ConfigError]:
    """Yield the mistakes in the access to the web server."""
    service = config.service
    for given, missing in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        if getattr(service, given) and not getattr(service, missing):
            yield ConfigError(f"service.{missing}", f"must be given with service.{given}")
    if service.tls_certificate and not config.site.public_url.startswith("https://"):
        yield ConfigError("site.public_url", "must begin with https:// where service.tls_certificate is given")
    for index, address in enumerate(service.trusted_proxies, 1):
        try:
            ipaddress.ip_network(address)
        except ValueError:
            yield ConfigError(
                f"service.trusted_proxies[{index}]", f"{address!r} is no IP address or network, such as 192.168.1.0/24"
            )


def _twice(config: Config) -> Iterator[ConfigError]:
    """Yield a mistake if two outlets share a value that must be unique."""
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
    for name in CABINET_PINS:
        if (pin := getattr(hardware, name)) is not None:
            yield f"hardware.{name}", pin
    for index, outlet in enumerate(config.outlet, 1):
        for path, place in _places(index, outlet):
            if place.expander is None:
                yield path, place.pin
    for index, fitted in enumerate(hardware.alert_expanders, 1):
        yield f"hardware.alert_expanders[{index}].interrupt_pin", fitted.interrupt_pin


def _places(index: int, outlet: OutletSection) -> Iterator[tuple[str, PinRef]]:
    yield f"outlet[{index}].relay", PinRef.parse(outlet.relay)
    if outlet.alert is not None:
        yield f"outlet[{index}].alert", PinRef.parse(outlet.alert)


def _wrong_wiring(config: Config) -> Iterator[ConfigError]:
    taken: dict[int, str] = {}
    for path, pin in _pins(config):
        if pin in RESERVED_PINS:
            yield ConfigError(path, f"GPIO {pin} is {RESERVED_PINS[pin]}")
        elif pin > 27:
            yield ConfigError(path, f"GPIO {pin} does not exist on the header (0 to 27)")
        elif pin in taken and not (path.endswith("relay") and taken[pin].endswith("relay")):  # two relays: see `_twice`
            yield ConfigError(path, f"GPIO {pin} is taken by {taken[pin]}")
        taken.setdefault(pin, path)
    if (config.hardware.bus == "sim") != (config.hardware.pin_factory == "sim"):
        yield ConfigError("hardware.pin_factory", "bus and pin_factory are simulated together or not at all")
    yield from _wrong_expander_pins(config)
    for index, outlet in enumerate(config.outlet, 1):
        for name, place in (("meter", outlet.meter), ("thermometer", outlet.thermometer)):
            if place is not None and place.mux not in config.hardware.muxes:
                yield ConfigError(f"outlet[{index}].{name}.mux", f"0x{place.mux:02x} is not in hardware.muxes")
    if config.hardware.residual_test_pin is not None and config.hardware.residual_pin is None:
        yield ConfigError("hardware.residual_test_pin", "there is no residual_pin to test")
    yield from _wrong_feed_meter(config)


def _wrong_expander_pins(config: Config) -> Iterator[ConfigError]:
    fitted = {"relay": config.hardware.expanders, "alert": [each.address for each in config.hardware.alert_expanders]}
    listed = {"relay": "hardware.expanders", "alert": "hardware.alert_expanders"}
    taken: dict[PinRef, str] = {}
    for index, outlet in enumerate(config.outlet, 1):
        for path, place in _places(index, outlet):
            key = path.rpartition(".")[2]
            if place.expander is None:
                continue
            if place.expander not in fitted[key]:
                yield ConfigError(path, f"0x{place.expander:02x} is not in {listed[key]}")
            elif key == "alert" and place.pin in OUTPUT_ONLY:
                yield ConfigError(path, f"pin {place.pin} ({OUTPUT_ONLY[place.pin]}) of an MCP23017 is {_NO_INPUT}")
            elif place in taken and not (key == "relay" and taken[place].endswith("relay")):  # two relays: see `_twice`
                yield ConfigError(path, f"pin {place.pin} of 0x{place.expander:02x} is taken by {taken[place]}")
            taken.setdefault(place, path)


def _wrong_feed_meter(config: Config) -> Iterator[ConfigError]:
    feed = config.hardware.feed_meter
    if feed is None:
        return
    if feed.mux not in config.hardware.muxes:
        yield ConfigError("hardware.feed_meter.mux", f"0x{feed.mux:02x} is not in hardware.muxes")
    for index, outlet in enumerate(config.outlet, 1):
        if (outlet.meter.mux, outlet.meter.channel, outlet.meter.input) == (feed.mux, feed.channel, feed.input):
            yield ConfigError("hardware.feed_meter", f"the same as outlet[{index}].meter")


def _address_conflicts(config: Config) -> Iterator[ConfigError]:
    """Yield address conflicts. A mux joins a segment with the upstream bus: their chips must not share an address."""
    upstream: dict[int, str] = {}
    for name in ("expanders", "muxes"):
        for index, address in enumerate(getattr(config.hardware, name), 1):
            path = f"hardware.{name}[{index}]"
            if address in upstream:
                yield ConfigError(path, f"address 0x{address:02x} is taken by {upstream[address]}")
            upstream.setdefault(address, path)
    addresses = [fitted.address for fitted in config.hardware.alert_expanders]
    for index, address in enumerate(addresses, 1):
        path = f"hardware.alert_expanders[{index}].address"
        if addresses.index(address) != index - 1:
            yield ConfigError(path, f"the same as hardware.alert_expanders[{addresses.index(address) + 1}].address")
        upstream.setdefault(address, path)  # it may carry relays as well
    if (inside := config.hardware.inside_thermometer) is not None:
        if inside in upstream:
            yield ConfigError("hardware.inside_thermometer", f"address 0x{inside:02x} is taken by {upstream[inside]}")
        upstream.setdefault(inside, "hardware.inside_thermometer")
    clashes: dict[tuple[str, int], list[int]] = {}
    for index, outlet in enumerate(config.outlet, 1):
        for name, address in _behind_mux(outlet):
            if address in upstream:
                clashes.setdefault((name, address), []).append(index)
    for (name, address), (first, *others) in clashes.items():  # one line per mistake, even if outlets share it
        also = f" (outlets {', '.join(f'[{index}]' for index in others)} too)" if others else ""
        yield ConfigError(
            f"outlet[{first}].{name}", f"address 0x{address:02x} is taken upstream by {upstream[address]}{also}"
        )


def _behind_mux(outlet: OutletSection) -> Iterator[tuple[str, int]]:
    yield "meter", METER_ADDRESS
    if outlet.thermometer is not None:
        yield "thermometer.address", outlet.thermometer.address


def _wrong_limits(config: Config) -> Iterator[ConfigError]:
    pairs = [
        (f"protections.{name}.{lower}", getattr(section, lower), getattr(section, upper))
        for name, section in msgspec.structs.asdict(config.protections).items()
        for lower, upper in section.ASCENDING
    ]
    hard_peak_a = config.protections.short_circuit.hard_peak_a
    pairs.append(("protections.short_circuit.hard_peak_a", hard_peak_a, config.hardware.current_full_scale_a))
    for path, low, high in pairs:
        if low >= high:
            yield ConfigError(path, f"{low:g} must be below {high:g}")
