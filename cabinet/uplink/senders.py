"""Facts and states on an open connection: which to send, and when. Each sender runs until the connection fails."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from cabinet.clock import NS, Clock
from cabinet.link.uplink_protocol import AskFacts, AskState, Changed, FactRows, StateBody
from cabinet.uplink import messages, packing
from cabinet.uplink.messages import Fact, Facts
from cabinet.uplink.service_client import UplinkServiceClient

WINDOW = 200  # facts that may be unacknowledged
MAX_BATCH_BYTES = messages.MAX_MESSAGE - 4096  # of bodies in one message
ACK_WITHIN_S = 30.0  # then the first fact is sent again
PROGRESS_WITHIN_S = 3.0  # after an acknowledgement, while others are missing: else a fact before them was lost
MAX_ACK_WAIT_S = 60.0  # between repetitions while a fleet does not acknowledge: one fact each
STATE_AT_MOST_S = 60.0  # between states that changed
WATCHED_STATE_S = 2.0  # the same, while a person views this cabinet
STATE_ANYWAY_S = 300.0


class Publisher(Protocol):
    """The part of a connection that senders use."""

    async def publish(self, name: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish `up/<name>`. Raises LinkFailed."""


class Signal:
    """Wakes every waiter when something changed; a value that all of them read is beside it."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    async def wait(self, within_s: float | None) -> None:
        """Return at the next ring, or after `within_s`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            # Not asyncio.wait_for: in Python 3.11 it loses a cancellation that comes together with the result.
            async with asyncio.timeout(within_s):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(waiter)


class ServiceView:
    """Last report of the service, and the wishes of the fleet; `signal` rings with each change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched_until_ns = 0
        self.changed: Changed | None = None
        self.hurried = False  # an order was answered: the fleet needs the new state and challenge soon
        self.service_returned = False  # its watch began again
        self.signal = Signal()

    def report(self, changed: Changed) -> None:
        self.changed = changed
        self.signal.ring()

    def watch(self, seconds: float) -> None:
        """Send states often for the next `seconds`: a person views this cabinet."""
        self._watched_until_ns = max(self._watched_until_ns, self._clock.monotonic_ns() + int(seconds * NS))
        self.signal.ring()

    def hurry(self) -> None:
        self.hurried = True
        self.signal.ring()

    @property
    def watched(self) -> bool:
        return self._clock.monotonic_ns() < self._watched_until_ns


class FactSender:
    """Sends facts in order, at most a window ahead of the acknowledgements; from the last one again after a silence.

    While no acknowledgement comes, one fact is repeated at growing intervals: a fleet that is down costs little data.
    The fleet acknowledges each message, with the same number as before if a fact is missing; that one is repeated soon.
    """

    def __init__(self, service: UplinkServiceClient, view: ServiceView, clock: Clock) -> None:
        self._service = service
        self._view = view
        self._clock = clock
        self._epoch = ""
        self._sent = 0
        self._acked = 0
        self._window = WINDOW
        self._wait_s = ACK_WITHIN_S
        self._resend_at_ns: int | None = None  # while something is unacknowledged

    def begin_again(self) -> None:
        """Send everything unacknowledged again: the connection is a new one."""
        self._sent = self._acked
        self._expect_all_acked()

    async def run(self, connection: Publisher) -> None:
        """Raises LinkFailed, and LinkError if the service is gone."""
        while True:
            changed = self._view.changed
            if changed is not None:
                self._note(changed)
                if self._sent < min(changed.facts, self._acked + self._window):
                    await self._send(connection)
                    continue
            await self._view.signal.wait(self._until_resend_s())
            self._resend_if_due()

    def _note(self, changed: Changed) -> None:
        if changed.epoch != self._epoch:
            self._epoch, self._sent, self._acked = changed.epoch, changed.acked, changed.acked
            self._expect_all_acked()
        elif changed.acked < self._acked:  # the fleet was restored from a backup
            self._acked, self._sent = changed.acked, changed.acked
            self._expect_all_acked()
        elif changed.acked > self._acked:
            self._acked = changed.acked
            self._sent = max(self._sent, self._acked)
            self._expect_all_acked()

    def ack_received(self) -> None:
        """Take into account that the fleet acknowledges, whatever the number."""
        if self._resend_at_ns is not None:
            soon_ns = self._clock.monotonic_ns() + int(PROGRESS_WITHIN_S * NS)
            self._resend_at_ns = min(self._resend_at_ns, soon_ns)
            self._view.signal.ring()

    def _expect_all_acked(self) -> None:
        """Begin the wait again after progress."""
        self._window, self._wait_s = WINDOW, ACK_WITHIN_S
        self._resend_at_ns = None if self._sent == self._acked else self._deadline_ns()

    def _deadline_ns(self) -> int:
        return self._clock.monotonic_ns() + int(self._wait_s * NS)

    async def _send(self, connection: Publisher) -> None:
        most = min(messages.MAX_FACTS, self._acked + self._window - self._sent)
        rows = await self._service.ask(AskFacts(self._sent, most), FactRows)
        batch: list[Fact] = []
        size = 0
        for row in rows.facts:
            size += len(bytes(row.body))
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(Fact(row.number, row.body))
        if not batch or rows.epoch != self._epoch:
            await self._view.signal.wait(1.0)  # the report of the change is on its way
            return
        await connection.publish("facts", packing.pack(messages.encode(Facts(rows.epoch, batch))))
        self._sent = max(self._sent, batch[-1].number)
        if self._resend_at_ns is None:
            self._resend_at_ns = self._deadline_ns()

    def _until_resend_s(self) -> float | None:
        if self._resend_at_ns is None:
            return None
        return max(0.0, (self._resend_at_ns - self._clock.monotonic_ns()) / NS)

    def _resend_if_due(self) -> None:
        if self._resend_at_ns is not None and self._clock.monotonic_ns() >= self._resend_at_ns:
            self._sent = self._acked
            self._window = 1
            self._wait_s = min(2 * self._wait_s, MAX_ACK_WAIT_S)
            self._resend_at_ns = self._deadline_ns()


class StateSender:
    """Sends the cabinet's state, retained: at once, when it changed, and every 300 s anyway."""

    def __init__(
        self, service: UplinkServiceClient, view: ServiceView, clock: Clock, signal_dbm: Callable[[], int | None]
    ) -> None:
        self._service = service
        self._view = view
        self._clock = clock
        self._signal_dbm = signal_dbm

    async def run(self, connection: Publisher) -> None:
        """Raises LinkFailed, and LinkError if the service is gone."""
        while True:
            sent = self._view.changed
            self._view.hurried = False
            body = await self._service.ask(AskState(self._signal_dbm()), StateBody)
            await connection.publish("state", packing.pack(bytes(body.body)), retain=True)
            sent_ns = self._clock.monotonic_ns()
            while (left_s := self._left_s(sent, sent_ns)) > 0:
                await self._view.signal.wait(left_s)

    def _left_s(self, sent: Changed | None, sent_ns: int) -> float:
        """Return how long the next state may wait."""
        changed = self._view.changed
        if self._view.hurried:
            period_s = WATCHED_STATE_S
        elif changed is None or (sent is not None and changed.state == sent.state):
            period_s = STATE_ANYWAY_S
        else:
            period_s = WATCHED_STATE_S if self._view.watched else STATE_AT_MOST_S
        return period_s - (self._clock.monotonic_ns() - sent_ns) / NS
