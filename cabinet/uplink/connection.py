"""The one adapter over the MQTT library (aiomqtt, MQTT 5): a connection that carries messages until it fails.

A connection is never used again: after any failure a new one is made, and everything unacknowledged is sent again from
the outbox. So nothing depends on the library's own queue, whose exceptions do not mean that a message was not sent.
"""

import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import msgspec
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from cabinet.uplink import messages
from cabinet.uplink.messages import Online
from cabinet.uplink.mqtt_client import MqttClient
from cabinet.uplink.problems import LinkFailed

KEEP_ALIVE_S = 60  # NAT of mobile networks forgets idle connections after about 90 s
CONNECT_WITHIN_S = 30  # TCP, and again TLS; a link with 2 s of delay needs 12 s for both
ANSWER_WITHIN_S = 30  # for each acknowledgement of the broker
WILL_DELAY_S = 45  # a gap of the mobile network that is shorter is none
# The broker sends a delayed will at the end of the session at the latest, so a session of 0 s would publish "offline"
# at each gap. A message that waits in it is at most as old as an order may be, and a stale one is refused anyway.
SESSION_EXPIRY_S = 60
MAX_PACKET_BYTES = messages.MAX_MESSAGE + 1024
MAX_RECEIVED = 100  # messages that wait here; more are dropped, and the fleet asks or sends again
MAX_QUEUED = 100  # to be sent; each sender waits for its acknowledgement, so there are a dozen at most
MAX_IN_FLIGHT = 20

# OpenSSL's X509_V_FLAGNO_CHECK_TIME, which Python has no name for: the chain is verified without the present time.
NO_CHECK_TIME = 0x200000
_ALERTS = {
    "CERTIFICATE_REVOKED": "certificate_revoked",
    "CERTIFICATE_EXPIRED": "certificate_expired",
    "UNKNOWN_CA": "certificate_refused",
    "DECRYPT_ERROR": "certificate_refused",  # another authority of the same name
    "BAD_CERTIFICATE": "certificate_refused",
    "CERTIFICATE_UNKNOWN": "certificate_refused",
    "CERTIFICATE_REQUIRED": "certificate_refused",
    "CERTIFICATE_VERIFY_FAILED": "broker_untrusted",
}


class Broker(msgspec.Struct, frozen=True):
    """The fleet's broker, and the certificate that this cabinet shows there."""

    cabinet: str
    host: str
    port: int
    ca_pem: str
    identity: Path  # key and certificate


class Received(msgspec.Struct, frozen=True):
    """A message below `down/`; `name` is the rest of its topic."""

    name: str
    payload: bytes
    retained: bool


def tls_context(broker: Broker, check_time: bool) -> ssl.SSLContext:
    """Return settings for TLS 1.3 with the cabinet's certificate.

    Without `check_time`, every check of the broker's certificate is made but that of the present time, for a clock that
    is not synchronised; `FleetConnection.open` then checks its end against a known time. Raises LinkFailed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not check_time:
        context.verify_flags |= NO_CHECK_TIME
    try:
        context.load_verify_locations(cadata=broker.ca_pem)
        context.load_cert_chain(broker.identity, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise LinkFailed("enrolment_damaged", str(error)) from error
    return context


def _no_passphrase() -> str:
    raise LinkFailed("enrolment_damaged", "the key has a passphrase")


class _LastError(logging.Handler):
    """Keeps the library's last error: of a refusal by TLS there is no other trace."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class FleetConnection:
    """An open connection. `received` yields until it fails; `publish` returns when the broker has the message."""

    def __init__(self, broker: Broker, client: MqttClient, last_error: _LastError) -> None:
        self._broker = broker
        self._client = client
        self._last_error = last_error

    @classmethod
    async def open(cls, broker: Broker, *, trusted_time: bool, not_before_unix_s: float) -> "FleetConnection":
        """Connect, with the will in place, and subscribe to `down/#`.

        With `trusted_time` the present time is checked as usual. Without it, the broker's certificate must not have
        ended before `not_before_unix_s`, the latest time that is known to have passed. Raises LinkFailed.
        """
        last_error = _LastError()
        logger = logging.Logger("mqtt", logging.ERROR)
        logger.addHandler(last_error)
        client = MqttClient(
            broker.host,
            broker.port,
            identifier=broker.cabinet,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            keepalive=KEEP_ALIVE_S,
            timeout=ANSWER_WITHIN_S,
            properties=_connect_properties(),
            will=_will(broker.cabinet),
            tls_context=tls_context(broker, trusted_time),
            max_queued_incoming_messages=MAX_RECEIVED,
            max_queued_outgoing_messages=MAX_QUEUED,
            max_inflight_messages=MAX_IN_FLIGHT,
            logger=logger,
        )
        client.connect_within(CONNECT_WITHIN_S)
        client.pending_calls_threshold = MAX_IN_FLIGHT
        connection = cls(broker, client, last_error)
        try:
            await client.open()
            if not trusted_time:
                connection._check_certificate_end(not_before_unix_s)
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            await client.subscribe(messages.down(broker.cabinet, "#"), options=options)
        except aiomqtt.MqttError as error:
            client.drop()
            raise connection._failure(error) from error
        except (ValueError, OSError) as error:  # such as a host name that cannot be one
            client.drop()
            raise LinkFailed("no_connection", str(error)) from error
        except BaseException:
            client.drop()
            raise
        return connection

    async def publish(self, name: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish `up/<name>`; return when the broker has acknowledged it. Raises LinkFailed: it may be sent or not."""
        try:
            await self._client.publish(messages.up(self._broker.cabinet, name), payload, qos=1, retain=retain)
        except aiomqtt.MqttError as error:
            raise self._failure(error) from error

    async def received(self) -> AsyncIterator[Received]:
        """Yield what arrives. Raises LinkFailed when the connection is lost."""
        below = messages.down(self._broker.cabinet, "")
        try:
            async for message in self._client.incoming():
                payload = message.payload if isinstance(message.payload, bytes) else b""
                yield Received(message.topic.value.removeprefix(below), payload, message.retain)
        except aiomqtt.MqttError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Drop the connection without a farewell, so that the will reports a cabinet that does not come back."""
        self._client.drop()

    def _check_certificate_end(self, not_before_unix_s: float) -> None:
        end = self._client.peer_certificate().get("notAfter")
        if not isinstance(end, str) or ssl.cert_time_to_seconds(end) < not_before_unix_s:
            raise LinkFailed("broker_untrusted", f"its certificate ended {end}")

    def _failure(self, error: aiomqtt.MqttError) -> LinkFailed:
        text = f"{error.__cause__ or error} {self._last_error.text}".strip()
        for alert, code in _ALERTS.items():
            if alert in text.upper().replace(" ", "_"):
                return LinkFailed(code, text)
        if "session taken over" in text.lower():
            return LinkFailed("taken_over", text)
        if isinstance(error, MqttConnectError) or "not authorized" in text.lower():
            return LinkFailed("not_authorized", text)
        return LinkFailed("no_connection", text)


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    properties.ReceiveMaximum = MAX_RECEIVED
    return properties


def _will(cabinet: str) -> aiomqtt.Will:
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    properties.WillDelayInterval = WILL_DELAY_S
    payload = messages.encode(Online(online=False))
    return aiomqtt.Will(messages.up(cabinet, "online"), payload, qos=1, retain=True, properties=properties)
