"""Search for unexpected chips, one address at a time, in the rest of a scan.

Only addresses that the configuration leaves free are probed: a chip in use is never touched, as its reads and their
order belong to its driver.
"""

from collections.abc import Iterator

import msgspec

from cabinet.config.keys import Config
from cabinet.errors import BusError
from cabinet.hardware.ade7953 import ADDRESS as METER_ADDRESS
from cabinet.hardware.bus import MUX_CHANNELS, Bus, Muxes
from cabinet.link.guard_protocol import ChipView, ScanView

# Chips that may be on the bus, by their possible addresses (data sheets; see docs/wiring.md).
KINDS = {
    "MCP23017": range(0x20, 0x28),
    "ADE7953": range(METER_ADDRESS, METER_ADDRESS + 1),
    "TMP102": range(0x48, 0x4C),
    "TCA9548A": range(0x70, 0x78),
}
UPSTREAM = ("MCP23017", "ADE7953", "TMP102", "TCA9548A")
BEHIND = ("ADE7953", "TMP102")  # on a mux channel: upstream chips answer there too


class ProbeTarget(msgspec.Struct, frozen=True):
    chip: str
    address: int
    mux: int | None = None
    channel: int | None = None


def probe_targets(config: Config) -> list[ProbeTarget]:
    """Return every address that could answer and should not."""
    hardware = config.hardware
    thermometers = {(t.mux, t.channel, t.address) for outlet in config.outlet if (t := outlet.thermometer) is not None}
    meters = {(outlet.meter.mux, outlet.meter.channel) for outlet in config.outlet}
    if hardware.feed_meter is not None:
        meters.add((hardware.feed_meter.mux, hardware.feed_meter.channel))
    used: set[tuple[int | None, int | None, int]] = {(None, None, address) for address in hardware.expanders}
    used |= {(None, None, expander.address) for expander in hardware.alert_expanders}
    used |= {(None, None, mux) for mux in hardware.muxes}
    used |= {(None, None, hardware.inside_thermometer)} if hardware.inside_thermometer is not None else set()
    used |= thermometers | {(mux, channel, METER_ADDRESS) for mux, channel in meters}
    upstream = {address for _, _, address in used if (None, None, address) in used}
    places = [ProbeTarget(kind, address) for kind in UPSTREAM for address in KINDS[kind]]
    places += [
        ProbeTarget(kind, address, mux, channel)
        for mux in hardware.muxes
        for channel in range(MUX_CHANNELS)
        for kind in BEHIND
        for address in KINDS[kind]
        if address not in upstream  # an upstream chip answers on every channel
    ]
    return [place for place in places if (place.mux, place.channel, place.address) not in used]


class Prober:
    """One search. `step` probes one address."""

    def __init__(self, bus: Bus, muxes: Muxes, places: list[ProbeTarget]) -> None:
        self._bus = bus
        self._muxes = muxes
        self._left: Iterator[ProbeTarget] = iter(places)
        self._places = len(places)
        self._asked = 0
        self._found: list[ChipView] = []
        self._stopped_by = ""

    @property
    def done(self) -> bool:
        return self._asked >= self._places or bool(self._stopped_by)

    def step(self) -> bool:
        """Probe the next address. Return True if the bus hangs, which ends the search."""
        place = next(self._left, None)
        if place is None:
            return False
        self._asked += 1
        try:
            if place.mux is None or place.channel is None:
                self._muxes.deselect_all()  # a chip that answers is then upstream
            else:
                self._muxes.select(place.mux, place.channel)
        except BusError as error:
            self._stopped_by = "" if error.absent else str(error)
            return not error.absent
        try:
            self._bus.read_byte(place.address)
        except OSError as error:
            self._muxes.forget()
            failed = BusError(place.chip, place.address, None, error.errno or 5)
            self._stopped_by = "" if failed.absent else str(failed)
            return not failed.absent
        if not any(seen.mux is None and seen.address == place.address for seen in self._found):
            self._found.append(ChipView(place.chip, place.address, place.mux, place.channel))
        return False

    def view(self) -> ScanView:
        return ScanView(self._asked, self._places, not self.done, list(self._found), self._stopped_by)
