"""The fleet as a cabinet sees it, in memory: takes facts in once each, acknowledges them, keeps answers and states."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cabinet.uplink import messages, orders
from cabinet.uplink.messages import Ack, Answer, Down, Online, StateReport
from cabinet_testing.fleet_broker import FleetBroker


class FakeFleet:
    """Client of the broker's second listener. `acknowledging` False: facts are taken in without an answer."""

    def __init__(self, broker: FleetBroker) -> None:
        self._broker = broker
        self._client: aiomqtt.Client | None = None
        self.acknowledging = True
        self.facts: dict[tuple[str, str], dict[int, bytes]] = defaultdict(dict)
        self.numbers: list[int] = []  # of all facts that arrived, again ones included
        self.online: dict[str, Online] = {}
        self.states: dict[str, list[StateReport]] = defaultdict(list)
        self.answers: list[Answer] = []
        self.requests: list[str] = []
        self.connected = False
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FakeFleet"]:
        task = asyncio.create_task(self._run())
        try:
            await self.until(lambda: self.connected)
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, condition: Callable[[], bool], within_s: float = 20) -> None:
        """Wait until `condition()` holds; it is checked at each message and connection."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(condition)

    async def until_facts(self, cabinet: str, number: int, epoch: str = "epoch-1") -> None:
        """Wait until no fact up to `number` is missing."""
        await self.until(lambda: self.contiguous(cabinet, epoch) >= number)

    async def until_states(self, cabinet: str, count: int) -> None:
        """Wait for the state with this number, counted since the start."""
        await self.until(lambda: len(self.states[cabinet]) >= count)

    async def send(self, name: str, message: Down, *, key: int = 0, retain: bool = False) -> None:
        """Sign and publish a message to its cabinet."""
        payload = orders.sign(self._broker.trust.signing_keys()[key], message)
        assert self._client is not None
        await self._client.publish(messages.down(message.cabinet, name), payload, qos=1, retain=retain)

    def contiguous(self, cabinet: str, epoch: str) -> int:
        """Return the highest number up to which no fact is missing."""
        have = self.facts[cabinet, epoch]
        number = 0
        while number + 1 in have:
            number += 1
        return number

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with self._new_client() as client:
                    self._client = client
                    await client.subscribe("cab/+/up/#", qos=1)
                    await self._set_connected(True)
                    async for message in client.messages:
                        await self._take(client, message)
            await self._set_connected(False)
            await asyncio.sleep(0.1)

    def _new_client(self) -> aiomqtt.Client:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 60
        return aiomqtt.Client(
            self._broker.host,
            self._broker.fleet_port,
            identifier="worker",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            tls_context=self._broker.fleet_tls(),
        )

    async def _set_connected(self, connected: bool) -> None:
        async with self._changed:
            self.connected = connected
            self._changed.notify_all()

    async def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        _, cabinet, _, name = message.topic.value.split("/", 3)
        payload = message.payload
        assert isinstance(payload, bytes)
        if name == "facts":
            facts = messages.decode_facts(payload)
            for fact in facts.facts:
                self.numbers.append(fact.number)
                self.facts[cabinet, facts.epoch].setdefault(fact.number, bytes(fact.body))
            if self.acknowledging:
                ack = Ack(cabinet=cabinet, epoch=facts.epoch, number=self.contiguous(cabinet, facts.epoch))
                await self.send("ack", ack)
        elif name == "state":
            self.states[cabinet].append(messages.decode_state(payload))
        elif name == "answer":
            self.answers.append(messages.decode_answer(payload))
        elif name == "online":
            self.online[cabinet] = messages.decode_online(payload)
        elif name == "csr":
            self.requests.append(messages.decode_csr(payload).csr_pem)
        async with self._changed:
            self._changed.notify_all()
