"""The worker's connection to the MQTT 5 broker: the one module that knows the client library.

The session is persistent (`clean_start=False` always: mosquitto 2.0 keeps no session that began clean), so what
cabinets publish while the worker restarts is delivered then. The library's acknowledgement to the broker counts for
nothing: facts are sent again until the fleet's own acknowledgement, states replace each other, answers are asked for.
So the inbox may be bounded and may drop. Topic aliases are not used: with QoS 1 they break a reconnect.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, NamedTuple

import aiomqtt
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cabinet.errors import CabinetError, os_error_at
from cabinet.uplink.mqtt_client import MqttClient
from fleet.config import BrokerSection

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
SESSION_S = 3600  # the broker keeps the worker's subscription and queue for so long
MAX_MESSAGE_BYTES = 64 * 1024
MAX_BACKOFF_S = 15.0
NO_SUBSCRIBERS = 0x10  # reason code of a PUBACK

Outcome = Literal["taken", "no_subscriber"]


class BrokerError(CabinetError):
    """The broker cannot be reached, or a message was not taken in time."""


class Message(NamedTuple):
    cabinet: str
    name: str  # the last part of the topic: online, state, facts, answer or csr
    payload: bytes
    retained: bool


Handler = Callable[[Message], None]


class _Client(MqttClient):
    """The client with two things that the library leaves out: reason codes of PUBACKs, and an inbox of our own.

    Its own iterator makes a task of every message.
    """

    handler: Handler = staticmethod(lambda _: None)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: dict[int, asyncio.Future[int]] = {}

    async def publish_and_wait(self, topic: str, payload: bytes, properties: Properties, timeout_s: float) -> int:
        """Publish with QoS 1; return the reason code of the PUBACK."""
        info = self._client.publish(topic, payload, 1, False, properties)
        if info.rc != 0:
            raise BrokerError(f"{topic}: not connected ({info.rc})")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[info.mid] = future
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise BrokerError(f"{topic}: the broker did not confirm it within {timeout_s:.0f} s") from None
        finally:
            self._waiting.pop(info.mid, None)

    def publish_soon(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0; lost if there is no connection."""
        self._client.publish(topic, payload, 0, False)

    async def gone(self) -> None:
        """Return when the connection is lost; each wait for a PUBACK ends with BrokerError."""
        await super().gone()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BrokerError("the connection to the broker is lost"))

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        future = self._waiting.pop(mid, None)
        if future is not None and not future.done():
            future.set_result(reason_code.value)

    def _on_message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:
        parts = message.topic.split("/")
        if len(parts) == 4:
            self.handler(Message(parts[1], parts[3], bytes(message.payload), message.retain))


class BrokerConnection:
    """The connection, made again whenever it is lost; `handler` gets each message and must not wait."""

    def __init__(self, section: BrokerSection, identifier: str, handler: Handler) -> None:
        self._section = section
        self._identifier = identifier
        self._handler = handler
        self._client: _Client | None = None
        self.connected = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep a connection during the block, as far as the broker allows. Raises BrokerError for unusable files."""
        context = tls_context(self._section)
        task = asyncio.create_task(self._keep(context))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def send(self, topic: str, payload: bytes, expires_s: int) -> Outcome:
        """Publish, and return whether a connection or session of the receiver took it. Raises BrokerError.

        After an error it is not known whether the message was sent.
        """
        if len(payload) > MAX_MESSAGE_BYTES:  # the broker would close the connection, which everything else needs
            raise BrokerError(f"{topic}: a message of {len(payload)} bytes; at most {MAX_MESSAGE_BYTES} are sent")
        client = self._client
        if client is None:
            raise BrokerError("there is no connection to the broker")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = expires_s
        reason = await client.publish_and_wait(topic, payload, properties, TIMEOUT_S)
        if reason == NO_SUBSCRIBERS:
            return "no_subscriber"
        if reason >= 0x80:
            raise BrokerError(f"{topic}: the broker refused it with reason code {reason:#x}")
        return "taken"

    def send_soon(self, topic: str, payload: bytes) -> None:
        """Publish something that may be lost, without waiting."""
        if self._client is not None:
            self._client.publish_soon(topic, payload)

    async def _keep(self, context: ssl.SSLContext | None) -> None:
        failures = 0
        while True:
            try:
                await self._connected(context)
                failures = 0
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                failures += 1
                log.warning("broker %s:%d: %s", self._section.host, self._section.port, error)
            await asyncio.sleep(random.uniform(0, min(MAX_BACKOFF_S, 0.2 * 2 ** min(failures, 8))))

    async def _connected(self, context: ssl.SSLContext | None) -> None:
        connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        connect.SessionExpiryInterval = SESSION_S
        connect.MaximumPacketSize = MAX_MESSAGE_BYTES + 1024
        client = _Client(
            self._section.host,
            self._section.port,
            identifier=self._identifier,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=connect,
            keepalive=self._section.keepalive_s,
            timeout=TIMEOUT_S,
            tls_context=context,
            max_inflight_messages=1000,
        )
        client.pending_calls_threshold = 10_000
        client.handler = self._handler
        try:
            await client.open()
            await client.subscribe("cab/+/up/#", qos=1)
            self._client = client
            self.connected.set()
            log.info("connected to the broker at %s:%d", self._section.host, self._section.port)
            await client.gone()
            log.warning("the connection to the broker is lost")
        finally:
            self._client = None
            self.connected.clear()
            client.drop()


def tls_context(section: BrokerSection) -> ssl.SSLContext | None:
    """Return the context of TLS 1.3 with the worker's certificate; None without `ca`. Raises BrokerError."""
    if not section.ca:
        return None
    try:
        with os_error_at(section.ca):
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=section.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if section.certificate:
            with os_error_at(section.certificate):
                context.load_cert_chain(section.certificate, section.key)
    except ssl.SSLError as error:
        raise BrokerError(f"certificates of the broker's connection: {error}") from error
    return context


async def probe(section: BrokerSection) -> None:
    """Connect once, as a client that the broker forgets at once. Raises BrokerError."""
    client = aiomqtt.Client(
        section.host,
        section.port,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=True,
        timeout=TIMEOUT_S,
        tls_context=tls_context(section),
    )
    try:
        async with client:
            pass
    except (aiomqtt.MqttError, OSError) as error:
        raise BrokerError(f"{section.host}:{section.port}: {error}") from error
