"""Cabinets at message level, thousands in one process: real MQTT messages, real hashes, no guard and no service.

Each behaves as a cabinet's uplink does: online and will, states, answers to orders within milliseconds, facts that are
chained and sent again until they are acknowledged. Charges run in a fraction of their time. Signatures are verified
as on a cabinet.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import msgspec
from nacl.signing import VerifyKey

from cabinet import usage_chain
from cabinet.clock import SystemClock, WallTime
from cabinet.model import EndReason
from cabinet.records import UsageRecord
from cabinet.uplink import messages, orders
from cabinet.uplink.messages import (
    Ack,
    Answer,
    AskOrder,
    Desired,
    Fact,
    FactBody,
    Facts,
    Look,
    Online,
    OutletPlace,
    OutletReport,
    SessionSettled,
    SessionStarted,
    StartOrder,
    StateReport,
    StopOrder,
)
from fleet.sim.mqtt import MqttClosed, MqttConnection

log = logging.getLogger(__name__)

WILL_DELAY_S = 45
RESEND_S = 5.0
STATE_S = 60.0
WINDOW = 200  # facts sent and not acknowledged


class SimulatedSession(msgspec.Struct):
    """A charge that runs."""

    session_id: str
    outlet: int
    started: WallTime
    held_fen: int
    tariff_version: str
    order: str | None


class SimulatedCabinet:
    """One cabinet without a connection: messages in, messages out. `send` publishes (name, payload, retained)."""

    def __init__(
        self,
        cabinet: str,
        keys: Mapping[str, VerifyKey],
        send: Callable[[str, bytes, bool], None],
        *,
        outlets: int = 10,
        epoch: str = "epoch-1",
        boot: str = "boot-1",
    ) -> None:
        self.cabinet = cabinet
        self.epoch = epoch
        self.boot = boot
        self.acked = 0
        self.facts: dict[int, bytes] = {}
        self.outlets = list(range(1, outlets + 1))
        self.sessions: dict[int, SimulatedSession] = {}
        self.answers: dict[str, Answer] = {}
        self.refuse_with: str | None = None
        self.silent = False  # takes orders and does not answer
        self.deaf = False  # takes no orders: as if they were lost on their way
        self.cut = False  # nothing that it sends arrives
        self.looks = 0
        self.orders_received = 0
        self.versions: dict[str, int] = {}
        self._keys = keys
        self._send = send
        self._challenge = 0
        self._challenges: list[str] = []
        self._number = 0
        self._sent = 0
        self._records = 0
        self._head = usage_chain.FIRST_PREVIOUS_HASH
        self._sessions = itertools.count(1)
        self._wall = SystemClock().wall

    @property
    def number(self) -> int:
        """Number of the last fact written."""
        return self._number

    # --- up --------------------------------------------------------------------------------------------------------

    def online(self) -> None:
        places = [OutletPlace(number, f"{self.cabinet}-{number}".upper()) for number in self.outlets]
        message = Online(
            True,
            boot=self.boot,
            epoch=self.epoch,
            software="sim",
            site_id="SIM",
            timezone="Asia/Shanghai",
            outlets=places,
        )
        self._send("online", messages.encode(message), True)
        self.state()
        self._sent = self.acked
        self.send_facts()

    def state(self) -> None:
        self._challenge += 1
        self._challenges = [*self._challenges[-3:], str(self._challenge)]
        self._send("state", messages.encode(self.current()), True)

    def current(self) -> StateReport:
        return StateReport(
            at=self._wall(), boot=self.boot, epoch=self.epoch, challenge=str(self._challenge),
            outlets=[self._outlet(number) for number in self.outlets], feed_mw=150_000 * len(self.sessions),
            software="sim", versions=self.versions, facts=self._number, acked=self.acked,
        )  # fmt: skip

    def _outlet(self, number: int) -> OutletReport:
        session = self.sessions.get(number)
        if session is None:
            return OutletReport(number, "free", temperature_mc=25_000)
        return OutletReport(
            number, "in_use", refusal="outlet_busy", temperature_mc=31_000, session_id=session.session_id,
            order=session.order, phase="charging", power_mw=150_000,
        )  # fmt: skip

    def send_facts(self, *, again: bool = False) -> None:
        """Send what is not acknowledged, one window ahead at most; with `again`, also what was sent before."""
        if again:
            self._sent = self.acked
        last = min(self._number, self.acked + WINDOW)
        while self._sent < last:
            end = min(last, self._sent + messages.MAX_FACTS)
            found = [Fact(number, msgspec.Raw(self.facts[number])) for number in range(self._sent + 1, end + 1)]
            self._send("facts", messages.encode(Facts(self.epoch, found)), False)
            self._sent = end

    def write(self, body: FactBody) -> None:
        """Write a fact into the outbox."""
        self._number += 1
        self.facts[self._number] = messages.encode_fact(body)

    # --- charges ---------------------------------------------------------------------------------------------------

    def start(
        self, outlet: int, *, order: str | None = None, held_fen: int = 500, tariff_version: str = "2026-11"
    ) -> SimulatedSession:
        """Start a charge: the fact is written before anything else."""
        number = next(self._sessions)
        session = SimulatedSession(f"{self.epoch}-{number}", outlet, self._wall(), held_fen, tariff_version, order)
        self.sessions[outlet] = session
        self.write(
            SessionStarted(session.session_id, f"SIM-{number:08}", outlet, "full", 0, held_fen, tariff_version,
                           session.started, order)
        )  # fmt: skip
        return session

    def settle(self, outlet: int, cost_fen: int = 100, reason: EndReason = EndReason.FULL) -> UsageRecord:
        """End the charge of an outlet, with its record in the chain."""
        session = self.sessions.pop(outlet)
        cost_fen = min(cost_fen, session.held_fen)
        self._records += 1
        record = UsageRecord(
            number=self._records, order_number=f"SIM-{self._records:08}", session_id=session.session_id, site_id="SIM",
            outlet=outlet, started=session.started, ended=self._wall(), powered_s=3600, charging_s=3600,
            energy_mwh=cost_fen * 1000, peak_power_mw=160_000, mean_power_mw=150_000,
            lines=[],
            electricity_fen=cost_fen, service_fen=0, total_fen=cost_fen, held_fen=session.held_fen,
            refund_fen=session.held_fen - cost_fen, end_reason=reason, fault=None,
            tariff_version=session.tariff_version, previous_hash=self._head, holder="sim",
        )  # fmt: skip
        record = msgspec.structs.replace(record, record_hash=usage_chain.hash_of(record))
        self._head = record.record_hash
        self.write(SessionSettled(record, session.order))
        return record

    # --- down ------------------------------------------------------------------------------------------------------

    def receive(self, payload: bytes) -> None:
        """Act on a message of the fleet. Raises MessageError for one that is not to be trusted."""
        match orders.open_signed(payload, self._keys, self.cabinet):
            case Ack(again=True, challenge=challenge) | Look(challenge=challenge) if challenge not in self._challenges:
                log.warning("%s: a message of another time", self.cabinet)
            case Ack(epoch=epoch, number=number, again=again) if epoch == self.epoch:
                self.acked = number if again else max(self.acked, min(number, self._number))
                self.send_facts(again=again)
            case StartOrder() as order:
                self.orders_received += 1
                if self.deaf:
                    return
                self._answer(self.answers.get(order.order) or self._take(order))
                self.send_facts()
            case StopOrder(order=number) | AskOrder(order=number) as wanted:
                outlet = next((o for o, session in self.sessions.items() if session.order == number), None)
                if isinstance(wanted, StopOrder) and outlet is not None:
                    self.settle(outlet, reason=EndReason.STOPPED_BY_RESIDENT)
                    self.answers[number] = msgspec.structs.replace(self.answers[number], outcome="ended")
                    self.state()
                self._answer(self.answers.get(number) or Answer(number, "unknown", epoch=self.epoch))
                self.send_facts()
            case Desired(what=what, version=version):
                self.versions = self.versions | {what: max(version, self.versions.get(what, 0))}
                self.state()
            case Look():
                self.looks += 1
                self.state()
            case _:
                pass

    def _answer(self, answer: Answer) -> None:
        if not self.silent:
            self._send("answer", messages.encode(answer), False)

    def _take(self, order: StartOrder) -> Answer:
        refusal = self.refuse_with
        if (
            order.epoch != self.epoch
            or order.boot != self.boot
            or order.challenge not in self._challenges
            or order.not_after_unix_ms < self._wall().unix_ms
        ):
            refusal = "expired"
        elif order.outlet in self.sessions:
            refusal = "outlet_busy"
        if refusal is not None:
            answer = Answer(order.order, "refused", code=refusal, epoch=self.epoch)
        else:
            session = self.start(
                order.outlet, order=order.order, held_fen=order.held_fen, tariff_version=order.tariff_version
            )
            answer = Answer(order.order, "accepted", session_id=session.session_id, epoch=self.epoch)
            self.state()
        self.answers[order.order] = answer
        return answer


class ConnectedCabinet:
    """A simulated cabinet with a connection of its own, made again when it is lost."""

    def __init__(
        self,
        cabinet: str,
        keys: Mapping[str, VerifyKey],
        host: str,
        port: int,
        *,
        epoch: str = "epoch-1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.sim = SimulatedCabinet(cabinet, keys, self._publish, epoch=epoch)
        self.connected = asyncio.Event()
        self.max_backoff_s = 30.0
        self._host, self._port = host, port
        self._connection: MqttConnection | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[SimulatedCabinet]:
        """Keep the cabinet connected during the block."""
        tasks = [asyncio.create_task(self.keep()), asyncio.create_task(self._repeat())]
        try:
            yield self.sim
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def keep(self) -> None:
        """Connect, and again after each loss, with full jitter."""
        failures = 0
        while True:
            try:
                await self._connect()
                failures = 0
            except (MqttClosed, OSError, TimeoutError):
                failures += 1
            finally:
                self._drop()
            await asyncio.sleep(random.uniform(0, min(self.max_backoff_s, 2.0**failures)))

    async def _connect(self) -> None:
        cabinet = self.sim.cabinet
        connection = MqttConnection(cabinet, self._receive)
        will = (messages.up(cabinet, "online"), messages.encode(Online(False)))
        try:
            await connection.connect(
                self._host, self._port, f"cab/{cabinet}/down/#", will, WILL_DELAY_S, WILL_DELAY_S + 15, self._tls
            )
            self._connection = connection
            self.connected.set()
            self.sim.online()
            await connection.closed
        finally:
            connection.abort()

    def lose(self) -> None:
        """Cut the connection, without a goodbye."""
        if self._connection is not None:
            self._connection.abort()

    def _drop(self) -> None:
        self._connection = None
        self.connected.clear()

    def _receive(self, payload: bytes) -> None:
        try:
            self.sim.receive(payload)
        except messages.MessageError as error:
            log.warning("%s: %s", self.sim.cabinet, error)

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(RESEND_S)
            if self.connected.is_set():
                self.sim.send_facts(again=True)

    def _publish(self, name: str, payload: bytes, retained: bool) -> None:
        # Without a connection it is lost: facts are sent again, a state is replaced.
        if self._connection is not None and not self.sim.cut:
            self._connection.publish(messages.up(self.sim.cabinet, name), payload, retained)


@contextlib.asynccontextmanager
async def all_running(cabinets: Sequence[ConnectedCabinet]) -> AsyncIterator[None]:
    """Run many at once."""
    async with contextlib.AsyncExitStack() as stack:
        for cabinet in cabinets:
            await stack.enter_async_context(cabinet.running())
        yield
