"""Everything that can open a circuit: the outlets' relays, the contactor before them, the heartbeat of their coils.

"On" is a lease: nothing here switches an outlet on, `RelayBank.hold` keeps it closed until a moment, and who does not
renew it has opened it. Opening tries everything and explains later: it is idempotent, it keeps the first reason, it
goes on after every error, and what did not reach the hardware is tried again on each tick (`expire`).

Relays hang on MCP23017 expanders or on GPIO lines, all active high with pull-downs: a dead line is an open relay.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set

import msgspec
from gpiozero import Factory

from cabinet.chips import mcp23017
from cabinet.chips.bus import Bus, Port
from cabinet.chips.mcp23017 import Mcp23017
from cabinet.clock import Clock
from cabinet.config.keys import Config
from cabinet.errors import CabinetError, ChipError, HardwareError
from cabinet.opening import attempt, output
from cabinet.wiring import Place

LEASE_EXPIRED = "lease_expired"
CLOSING_FAILED = "closing_failed"

# Kinds of `OutputMismatch.problem`.
OUTPUT_DIFFERS = "output_differs"
EXPANDER_RESET = "expander_reset"
UNREADABLE = "unreadable"


class RelayPlace(msgspec.Struct, frozen=True):
    """Where an outlet's relay is wired: pin 0-15 of the expander at an address, or, without one, a BCM GPIO."""

    outlet: int
    expander: int | None
    pin: int

    @classmethod
    def parse(cls, outlet: int, text: str) -> "RelayPlace":
        """The place named as in `cabinet.toml`. Raises ValueError for another form."""
        place = Place.parse(text)
        return cls(outlet, place.expander, place.pin)


class OutputMismatch(msgspec.Struct, frozen=True):
    """An outlet whose relay was told one thing and whose hardware remembers another.

    `problem` is OUTPUT_DIFFERS (the latch, or the pin although the latch agrees); or EXPANDER_RESET: the chip is back
    at power-on values and drives no pin, so its relays are open; or UNREADABLE, and then `found_closed` is None.
    """

    outlet: int
    told_closed: bool
    found_closed: bool | None
    problem: str


class RelayBank:
    """All switching outputs of one cabinet. One owner, the guard's loop; no call waits for anything but the bus.

    Building it drives its GPIO lines low; `initialise` sets the expanders up. Raises HardwareError for a line that
    cannot be had. Unknown outlet numbers are a bug (KeyError).
    """

    def __init__(
        self,
        outlets: Sequence[RelayPlace],
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
        self._until_ns: dict[int, int] = {}  # of every closed outlet, and of no other
        self._reasons: dict[int, str] = {}
        self._opened_at_ns = dict.fromkeys(self._places, clock.monotonic_ns())
        self._closed_at_ns: dict[int, int] = {}
        # Told to open, and the hardware did not take it yet. What an expander was told before this bank is unknown.
        self._unsent = {place.outlet for place in outlets if place.expander is not None}
        self._resets: list[int] = []

    @classmethod
    def from_config(cls, config: Config, bus: Bus, pin_factory: Factory, clock: Clock) -> "RelayBank":
        """The bank that `config` describes, over `bus` and the lines of `pin_factory`."""
        hardware = config.hardware
        return cls(
            [RelayPlace.parse(outlet.number, outlet.relay) for outlet in config.outlet],
            {address: Mcp23017(Port(bus, mcp23017.NAME, address)) for address in hardware.expanders},
            pin_factory,
            hardware.contactor_pin,
            hardware.heartbeat_pin,
            clock,
        )

    def initialise(self) -> None:
        """Contactor and every relay open, expanders set up (latch first, then directions).

        Attempts all, even if some fail; then raises the first BusError, ChipError or HardwareError. Outlets of an
        expander that failed refuse to close until `initialise_expander` succeeded for it.
        """
        errors: list[Exception] = []
        if self._contactor is not None:
            attempt(errors, self.open_contactor)
        for line in self._relay_lines.values():
            attempt(errors, line.off)
        for address in self._expanders:
            attempt(errors, self.initialise_expander, address)
        if errors:
            raise errors[0]

    def initialise_expander(self, address: int) -> None:
        """Set one expander up again, after a reset or a failure; its outlets are open afterwards.

        Raises BusError, ChipError.
        """
        self._ready.discard(address)
        for place in self._places.values():
            if place.expander == address and self.is_closed(place.outlet):
                self._tell_open(place.outlet, EXPANDER_RESET)
        self._expanders[address].initialise(self._masks[address])
        self._ready.add(address)
        self._sent(address)

    def hold(self, outlet: int, until_ns: int) -> None:
        """Keep `outlet` closed until `until_ns` of the monotonic clock: closes it now where it is open.

        A lease that is over already closes nothing. When closing fails the outlet counts as open, opening it is tried
        on the next ticks, and BusError, ChipError or HardwareError is raised.
        """
        if outlet in self._until_ns:
            self._until_ns[outlet] = until_ns
            return
        if until_ns <= self._clock.monotonic_ns():
            return
        place = self._places[outlet]
        self._until_ns[outlet] = until_ns
        self._reasons.pop(outlet, None)
        try:
            self._close_relay(place)
        except Exception:
            self._tell_open(outlet, CLOSING_FAILED)
            raise
        self._closed_at_ns[outlet] = self._clock.monotonic_ns()

    def release(self, outlet: int, reason: str) -> list[Exception]:
        """Open `outlet` now; the first reason stays until it is closed again. Nothing is sent where it is open.

        Returns what went wrong instead of raising it: the outlet is in `unsent` then, and tried again by `expire`.
        """
        if outlet in self._until_ns or outlet in self._unsent:
            self._tell_open(outlet, reason)
            return self._send()
        self._reasons.setdefault(outlet, reason)
        return []

    def expire(self, now_ns: int) -> list[int]:
        """Open every outlet whose lease ran out, and return them; try again what could not be opened before.

        To be called on each tick, after the renewals.
        """
        late = [outlet for outlet, until_ns in self._until_ns.items() if until_ns <= now_ns]
        for outlet in late:
            self._tell_open(outlet, LEASE_EXPIRED)
        if self._unsent:
            self._send()
        return late

    def open_all(self, reason: str, but: Collection[int] = ()) -> list[Exception]:
        """Open everything: contactor, then relays on GPIO (which never wait), then each expander. Returns the errors.

        Sends also to what is open already, and for each outlet keeps the first reason. The outlets of `but` keep their
        lease: the caller releases them when the contactor has broken their current.
        """
        errors: list[Exception] = []
        if self._contactor is not None:
            attempt(errors, self.open_contactor)
        for outlet in self._places:
            if outlet not in but:
                self._tell_open(outlet, reason)
        return errors + self._send(set(self._relay_lines).difference(but), self._expanders)

    def is_closed(self, outlet: int) -> bool:
        """What the relay was told."""
        return outlet in self._until_ns

    @property
    def unsent(self) -> Set[int]:
        """Outlets told to open whose hardware has not taken it: they may carry current. Empty in health."""
        return frozenset(self._unsent)

    @property
    def expanders_down(self) -> list[int]:
        """Addresses of the expanders that are not set up: their outlets refuse to close."""
        return sorted(set(self._expanders) - self._ready)

    def take_resets(self) -> list[int]:
        """Expanders found with other settings than they were given, since the last call."""
        found, self._resets = self._resets, []
        return found

    def expander_of(self, outlet: int) -> tuple[int, ...]:
        """Address of the expander the outlet's relay hangs on; empty for a relay on a GPIO line."""
        address = self._places[outlet].expander
        return () if address is None else (address,)

    def reason(self, outlet: int) -> str | None:
        """Why the outlet was opened; None while it is closed, or where nobody said why."""
        return self._reasons.get(outlet)

    def opened_at_ns(self, outlet: int) -> int:
        """When the hardware took the last order to open (until then: when it was given); at first, the bank's start."""
        return self._opened_at_ns[outlet]

    def told_open_at_ns(self, outlet: int) -> int | None:
        """The same while the outlet is open; None: its relay is closed, for a charge or a click of the self-test."""
        return None if outlet in self._until_ns else self._opened_at_ns[outlet]

    def closed_at_ns(self, outlet: int) -> int | None:
        """When the outlet was last closed; None where it never was."""
        return self._closed_at_ns.get(outlet)

    @property
    def has_contactor(self) -> bool:
        return self._contactor is not None

    @property
    def contactor_closed(self) -> bool:
        """What the contactor was told; True where none is fitted, as nothing stands between the feed and the relays."""
        return self._contactor is None or self._contactor_closed

    def close_contactor(self) -> None:
        """Give the outlets power. Raises what the pin factory raises."""
        if self._contactor is not None:
            self._contactor.on()
            self._contactor_closed = True

    def open_contactor(self) -> None:
        """Take all outlets' power away. Raises what the pin factory raises; it counts as told to open nevertheless."""
        if self._contactor is not None:
            self._contactor_closed = False
            self._contactor.off()

    def beat(self) -> None:
        """Toggle the heartbeat line: 100 ms without, and the hardware takes the coils' supply away."""
        if self._heartbeat is not None:
            self._heartbeat_level = not self._heartbeat_level
            self._heartbeat.pin.state = self._heartbeat_level

    def check_outputs(self) -> list[OutputMismatch]:
        """Compare what was told with what the hardware remembers and what its pins show, four reads an expander.

        An outlet told to open that is found closed is opened again by the next `expire`. Closing again is never done
        here: the caller releases an outlet that is found open. An expander found reset closes nothing until
        `initialise_expander`.
        """
        found: list[OutputMismatch] = []
        for outlet, line in self._relay_lines.items():
            self._compare(outlet, bool(line.value), found)
        for address, expander in self._expanders.items():
            outlets = [place.outlet for place in self._places.values() if place.expander == address]
            try:
                directions, latch, levels = expander.directions(), expander.latch(), expander.levels()
                if expander.set_right_next():
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
        """Open everything and give the GPIO lines back."""
        self.open_all("bank_closed")
        for device in (*self._relay_lines.values(), self._contactor, self._heartbeat):
            if device is not None:
                device.close()

    def _compare(self, outlet: int, found_closed: bool, found: list[OutputMismatch]) -> None:
        told_closed = self.is_closed(outlet)
        if told_closed != found_closed:
            found.append(OutputMismatch(outlet, told_closed, found_closed, OUTPUT_DIFFERS))
            if not told_closed:
                self._unsent.add(outlet)

    def _close_relay(self, place: RelayPlace) -> None:
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

    def _tell_open(self, outlet: int, reason: str) -> None:
        """From here on the outlet counts as open; a closed one is owed to the hardware until `_send` got through."""
        self._reasons.setdefault(outlet, reason)
        place = self._places[outlet]
        if place.expander is not None:
            self._words[place.expander] &= ~(1 << place.pin)
        if self._until_ns.pop(outlet, None) is not None:
            self._opened_at_ns[outlet] = self._clock.monotonic_ns()
            self._unsent.add(outlet)

    def _send(self, lines: Iterable[int] = (), expanders: Iterable[int] = ()) -> list[Exception]:
        """Send what is owed; besides, open the GPIO relays of `lines` and send the words of `expanders`.

        Attempts all, even if some fail; returns the errors.
        """
        errors: list[Exception] = []
        owed = [self._places[outlet] for outlet in self._unsent]
        for outlet in {*lines, *(place.outlet for place in owed if place.expander is None)}:
            if attempt(errors, self._relay_lines[outlet].off):
                self._opened(outlet)
        for address in {*expanders, *(place.expander for place in owed if place.expander is not None)}:
            if attempt(errors, self._expanders[address].write_outputs, self._words[address]):
                self._sent(address)
        return errors

    def _sent(self, address: int) -> None:
        """The word of an expander got through."""
        for outlet in list(self._unsent):
            if self._places[outlet].expander == address:
                self._opened(outlet)

    def _opened(self, outlet: int) -> None:
        if outlet in self._unsent:
            self._unsent.discard(outlet)
            self._opened_at_ns[outlet] = self._clock.monotonic_ns()


def _mask(address: int, outlets: Iterable[RelayPlace]) -> int:
    return sum({1 << place.pin for place in outlets if place.expander == address})
