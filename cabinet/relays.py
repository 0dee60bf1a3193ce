"""Switching outputs of the cabinet: the relays of the outlets, the contactor in front of them, the coil heartbeat.

"On" is a lease: no call here switches an outlet on permanently. `RelayBank.hold` keeps a relay closed until a deadline;
if the lease is not renewed, the relay opens. Opening tries everything and reports afterwards: it is idempotent, keeps
the first reason and continues after every error, and orders that did not reach the hardware are sent again on each tick
(`expire`).

Relays are driven by MCP23017 expanders or GPIO lines, all active high with pull-downs: a dead line is an open relay.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set

import msgspec
from gpiozero import Factory

from cabinet.clock import Clock
from cabinet.config.keys import Config
from cabinet.config.wiring import PinRef
from cabinet.errors import CabinetError, ChipError, HardwareError
from cabinet.hardware import mcp23017
from cabinet.hardware.bus import Bus, ChipPort
from cabinet.hardware.failsafe import output, try_call
from cabinet.hardware.mcp23017 import Mcp23017

LEASE_EXPIRED = "lease_expired"
CLOSING_FAILED = "closing_failed"

# Values of `OutputMismatch.problem`.
OUTPUT_DIFFERS = "output_differs"
EXPANDER_RESET = "expander_reset"
UNREADABLE = "unreadable"


class RelayPin(msgspec.Struct, frozen=True):
    """Wiring of an outlet's relay: pin 0-15 of the expander at an address, or, if `expander` is None, a BCM GPIO."""

    outlet: int
    expander: int | None
    pin: int

    @classmethod
    def parse(cls, outlet: int, text: str) -> "RelayPin":
        """Return the place that `text` names, as in `cabinet.toml`. Raises ValueError if it has another form."""
        place = PinRef.parse(text)
        return cls(outlet, place.expander, place.pin)


class OutputMismatch(msgspec.Struct, frozen=True):
    """Mismatch between the commanded state and the hardware state of an outlet.

    `problem` is OUTPUT_DIFFERS (the latch differs, or the pin although the latch agrees); or EXPANDER_RESET: the chip
    is back at power-on values and drives no pin, so its relays are open; or UNREADABLE, in which case `found_closed` is
    None.
    """

    outlet: int
    commanded_closed: bool
    found_closed: bool | None
    problem: str


class RelayBank:
    """All switching outputs of one cabinet. The only owner is the guard's loop; calls wait for nothing except the bus.

    Construction drives the GPIO lines low; `initialise` sets the expanders up. Raises HardwareError if a line is not
    available. Unknown outlet numbers are a bug (KeyError).
    """

    def __init__(
        self,
        outlets: Sequence[RelayPin],
        expanders: Mapping[int, Mcp23017],
        pin_factory: Factory,
        contactor_pin: int | None,
        heartbeat_pin: int | None,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._places = {place.outlet: place for place in outlets}
        self._expanders = dict(expanders)
        self._masks = {address: _mask(address, outlets) for address in expanders}
        self._words = dict.fromkeys(expanders, mcp23017.ALL_LOW)
        self._ready: set[int] = set()  # expanders that are set up
        self._relay_lines = {
            place.outlet: output(place.pin, f"relay of outlet {place.outlet}", pin_factory)
            for place in outlets
            if place.expander is None
        }
        self._contactor = None if contactor_pin is None else output(contactor_pin, "contactor", pin_factory)
        self._heartbeat = None if heartbeat_pin is None else output(heartbeat_pin, "heartbeat", pin_factory)
        self._heartbeat_level = False
        self._contactor_closed = False
        self._until_ns: dict[int, int] = {}  # of closed outlets only
        self._reasons: dict[int, str] = {}
        self._opened_at_ns = dict.fromkeys(self._places, clock.monotonic_ns())
        self._closed_at_ns: dict[int, int] = {}
        # Commanded open, but not yet taken by the hardware. The state of an expander before this bank existed is
        # unknown.
        self._unsent = {place.outlet for place in outlets if place.expander is not None}
        self.changes = 0  # of the commanded states, contactor included
        self._resets: list[int] = []

    @classmethod
    def from_config(cls, config: Config, bus: Bus, pin_factory: Factory, clock: Clock) -> "RelayBank":
        """Return the bank that `config` describes, over `bus` and the lines of `pin_factory`."""
        hardware = config.hardware
        return cls(
            [RelayPin.parse(outlet.number, outlet.relay) for outlet in config.outlet],
            {address: Mcp23017(ChipPort(bus, mcp23017.NAME, address)) for address in hardware.expanders},
            pin_factory,
            hardware.contactor_pin,
            hardware.heartbeat_pin,
            clock,
        )

    def initialise(self) -> None:
        """Open the contactor and every relay, set up the expanders (latch first, then directions).

        Attempts all, even if some fail; then raises the first BusError, ChipError or HardwareError. Outlets of an
        expander that failed refuse to close until `initialise_expander` succeeds for it.
        """
        errors: list[Exception] = []
        if self._contactor is not None:
            try_call(errors, self.open_contactor)
        for line in self._relay_lines.values():
            try_call(errors, line.off)
        for address in self._expanders:
            try_call(errors, self.initialise_expander, address)
        if errors:
            raise errors[0]

    def initialise_expander(self, address: int) -> None:
        """Set up one expander again, after a reset or a failure; its outlets are open afterwards.

        Raises BusError, ChipError.
        """
        self._ready.discard(address)
        for place in self._places.values():
            if place.expander == address and self.is_closed(place.outlet):
                self._command_open(place.outlet, EXPANDER_RESET)
        self._expanders[address].initialise(self._masks[address])
        self._ready.add(address)
        self._sent(address)

    def hold(self, outlet: int, until_ns: int) -> None:
        """Keep `outlet` closed until `until_ns` of the monotonic clock: close it now if it is open.

        A lease that has already expired closes nothing. If closing fails, the outlet counts as open, the next ticks try
        to open it, and BusError, ChipError or HardwareError is raised.
        """
        if outlet in self._until_ns:
            self._until_ns[outlet] = until_ns
            return
        if until_ns <= self._clock.monotonic_ns():
            return
        place = self._places[outlet]
        self._until_ns[outlet] = until_ns
        self.changes += 1
        self._reasons.pop(outlet, None)
        try:
            self._close_relay(place)
        except Exception:
            self._command_open(outlet, CLOSING_FAILED)
            raise
        self._closed_at_ns[outlet] = self._clock.monotonic_ns()

    def release(self, outlet: int, reason: str) -> list[Exception]:
        """Open `outlet` now; the first reason stays until it is closed again. Nothing is sent if it is already open.

        Returns the errors instead of raising them: if there are any, the outlet is in `unsent` and `expire` tries
        again.
        """
        if outlet in self._until_ns or outlet in self._unsent:
            self._command_open(outlet, reason)
            return self._send()
        self._reasons.setdefault(outlet, reason)
        return []

    def expire(self, now_ns: int) -> list[int]:
        """Open every outlet with an expired lease, and return them; retry the outlets that could not be opened before.

        Must be called on each tick, after the renewals.
        """
        leases = self._until_ns
        if not self._unsent and (not leases or min(leases.values()) > now_ns):
            return []
        late = [outlet for outlet, until_ns in leases.items() if until_ns <= now_ns]
        for outlet in late:
            self._command_open(outlet, LEASE_EXPIRED)
        if self._unsent:
            self._send()
        return late

    def open_all(self, reason: str, but: Collection[int] = ()) -> list[Exception]:
        """Open everything: contactor, then relays on GPIO (which never wait), then each expander. Return the errors.

        Sends to outlets that are already open too, and keeps the first reason of each. The outlets of `but` keep their
        lease: the caller releases them when the contactor has broken their current.
        """
        errors: list[Exception] = []
        if self._contactor is not None:
            try_call(errors, self.open_contactor)
        for outlet in self._places:
            if outlet not in but:
                self._command_open(outlet, reason)
        return errors + self._send(set(self._relay_lines).difference(but), self._expanders)

    def is_closed(self, outlet: int) -> bool:
        """Return the commanded state of the relay."""
        return outlet in self._until_ns

    @property
    def unsent(self) -> Set[int]:
        """Outlets commanded open without effect on the hardware yet: they may carry current. Empty if all is well."""
        return self._unsent

    @property
    def expanders_down(self) -> list[int]:
        """Addresses of the expanders that are not set up: their outlets refuse to close."""
        return sorted(set(self._expanders) - self._ready)

    def take_resets(self) -> list[int]:
        """Return the expanders found with altered settings since the last call."""
        found, self._resets = self._resets, []
        return found

    def expander_of(self, outlet: int) -> tuple[int, ...]:
        """Return the address of the expander that drives the outlet's relay; empty for a relay on a GPIO line."""
        address = self._places[outlet].expander
        return () if address is None else (address,)

    def reason(self, outlet: int) -> str | None:
        """Return why the outlet was opened; None while it is closed, or if no reason was given."""
        return self._reasons.get(outlet)

    def opened_at_ns(self, outlet: int) -> int:
        """Return when the hardware took the last order to open (until then: when it was given), or the bank's start."""
        return self._opened_at_ns[outlet]

    def commanded_open_at_ns(self, outlet: int) -> int | None:
        """Return the same while the outlet is open; None if its relay is closed, for a charge or a self-test click."""
        return None if outlet in self._until_ns else self._opened_at_ns[outlet]

    def closed_at_ns(self, outlet: int) -> int | None:
        """Return when the outlet was last closed; None if it never was."""
        return self._closed_at_ns.get(outlet)

    @property
    def has_contactor(self) -> bool:
        return self._contactor is not None

    @property
    def contactor_closed(self) -> bool:
        """Commanded state of the contactor; True if none is fitted, as nothing separates the relays from the feed."""
        return self._contactor is None or self._contactor_closed

    def close_contactor(self) -> None:
        """Close the contactor to give the outlets power. Raises the pin factory's errors."""
        if self._contactor is not None:
            self._contactor.on()
            self._contactor_closed = True
            self.changes += 1

    def open_contactor(self) -> None:
        """Open the contactor to cut all outlets' power. Raises the pin factory's errors; counts as open in any case."""
        if self._contactor is not None:
            self._contactor_closed = False
            self.changes += 1
            self._contactor.off()

    def beat(self) -> None:
        """Toggle the heartbeat line: after 100 ms without a toggle, the hardware cuts the coils' supply."""
        if self._heartbeat is not None:
            self._heartbeat_level = not self._heartbeat_level
            self._heartbeat.pin.state = self._heartbeat_level

    def check_outputs(self) -> list[OutputMismatch]:
        """Compare the commanded states with the latches and pin levels of the hardware, four reads an expander.

        The next `expire` opens again an outlet that was commanded open and is found closed. Nothing is closed here: the
        caller releases an outlet that is found open. An expander found reset closes nothing until
        `initialise_expander`.
        """
        found: list[OutputMismatch] = []
        for outlet, line in self._relay_lines.items():
            self._compare(outlet, bool(line.value), found)
        for address, expander in self._expanders.items():
            outlets = [place.outlet for place in self._places.values() if place.expander == address]
            try:
                directions, latch, levels = expander.directions(), expander.latch(), expander.levels()
                if expander.restore_next_setting():
                    self._resets.append(address)
            except CabinetError:
                found += [OutputMismatch(outlet, self.is_closed(outlet), None, UNREADABLE) for outlet in outlets]
                continue
            if directions & self._masks[address]:  # an output that is an input: power-on values, or worse
                self._ready.discard(address)
                self._resets.append(address)
                found += [OutputMismatch(outlet, self.is_closed(outlet), False, EXPANDER_RESET) for outlet in outlets]
                continue
            for outlet in outlets:
                pin = self._places[outlet].pin
                told, remembered = self.is_closed(outlet), bool(latch >> pin & 1)
                self._compare(outlet, remembered if remembered != told else bool(levels >> pin & 1), found)
        return sorted(found, key=lambda mismatch: mismatch.outlet)

    def close(self) -> None:
        """Open everything and release the GPIO lines."""
        self.open_all("bank_closed")
        for device in (*self._relay_lines.values(), self._contactor, self._heartbeat):
            if device is not None:
                device.close()

    def _compare(self, outlet: int, found_closed: bool, found: list[OutputMismatch]) -> None:
        commanded_closed = self.is_closed(outlet)
        if commanded_closed != found_closed:
            found.append(OutputMismatch(outlet, commanded_closed, found_closed, OUTPUT_DIFFERS))
            if not commanded_closed:
                self._unsent.add(outlet)

    def _close_relay(self, place: RelayPin) -> None:
        if place.expander is None:
            try:
                self._relay_lines[place.outlet].on()
            except Exception as error:  # each pin factory has its own
                raise HardwareError(f"relay of outlet {place.outlet} on GPIO {place.pin}: {error}") from error
            self._unsent.discard(place.outlet)
            return
        if place.expander not in self._ready:
            raise ChipError(mcp23017.NAME, f"0x{place.expander:02x}", "is not set up: its relays stay open")
        word = self._words[place.expander] | 1 << place.pin
        self._expanders[place.expander].write_outputs(word)
        self._words[place.expander] = word
        self._unsent.discard(place.outlet)
        self._sent(place.expander)

    def _command_open(self, outlet: int, reason: str) -> None:
        """Count the outlet as open from now on; a closed one stays in `unsent` until `_send` succeeds."""
        self._reasons.setdefault(outlet, reason)
        place = self._places[outlet]
        if place.expander is not None:
            self._words[place.expander] &= ~(1 << place.pin)
        if self._until_ns.pop(outlet, None) is not None:
            self.changes += 1
            self._opened_at_ns[outlet] = self._clock.monotonic_ns()
            self._unsent.add(outlet)

    def _send(self, lines: Iterable[int] = (), expanders: Iterable[int] = ()) -> list[Exception]:
        """Send all unsent orders; also open the GPIO relays of `lines` and send the words of `expanders`.

        Attempts all, even if some fail; returns the errors.
        """
        errors: list[Exception] = []
        owed = [self._places[outlet] for outlet in self._unsent]
        for outlet in {*lines, *(place.outlet for place in owed if place.expander is None)}:
            if try_call(errors, self._relay_lines[outlet].off):
                self._opened(outlet)
        for address in {*expanders, *(place.expander for place in owed if place.expander is not None)}:
            if try_call(errors, self._expanders[address].write_outputs, self._words[address]):
                self._sent(address)
        return errors

    def _sent(self, address: int) -> None:
        """Mark the outlets of an expander as opened: its word was sent."""
        for outlet in list(self._unsent):
            if self._places[outlet].expander == address:
                self._opened(outlet)

    def _opened(self, outlet: int) -> None:
        if outlet in self._unsent:
            self._unsent.discard(outlet)
            self._opened_at_ns[outlet] = self._clock.monotonic_ns()


def _mask(address: int, outlets: Iterable[RelayPin]) -> int:
    return sum({1 << place.pin for place in outlets if place.expander == address})
