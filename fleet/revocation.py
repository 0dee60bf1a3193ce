"""Revocation of a cabinet: its certificates are refused, and its open connection is closed.

A broker that reads a new revocation list leaves open connections alone (Mosquitto 2.0). But a client id has one
connection, and a cabinet's client id is its certificate's name: the fleet takes the id over on its own listener, which
closes the cabinet's. If the cabinet comes back, the broker has not read the list yet: the id is taken over again.
"""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import Callable

import aiomqtt
import msgspec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cabinet.errors import CabinetError
from cabinet.uplink import messages
from cabinet.uplink.messages import Online
from cabinet.uplink.mqtt_client import MqttClient
from fleet.broker import BrokerFolder
from fleet.store import audit, cabinets, certificates
from fleet.store.database import Connection
from fleet.trust import Revoked, TrustFolder

QUIET_S = 3.0  # a cabinet that is let in comes back within 1 s: its first pause
CLOSED_WITHIN_S = 10.0
ANSWER_WITHIN_S = 5.0
RETRY_S = 0.5


class FleetEndpoint(msgspec.Struct, frozen=True):
    """The broker's listener for the fleet's own processes. `tls` returns their settings."""

    host: str
    port: int
    tls: Callable[[], ssl.SSLContext | None]


async def revoke(connection: Connection, company_id: int, cabinet: str, staff: str) -> None:
    """Revoke a cabinet and its certificates in the database. Refuses unknown_cabinet."""
    async with connection.transaction():
        await cabinets.revoke(connection, company_id, cabinet)
        await certificates.revoke_all(connection, cabinet)
        await certificates.void_codes(connection, cabinet)
        await audit.add(connection, company_id, staff, "cabinet_revoked", subject=cabinet)


async def publish_list(
    connection: Connection, trust: TrustFolder, folder: BrokerFolder, now: datetime.datetime
) -> bool:
    """Write the revocation list for the broker. Return whether a broker on this machine was made to read it."""
    async with connection.transaction():
        found = await certificates.revoked(connection)
    trust.write_crl([Revoked(row.serial, row.revoked) for row in found], now)
    return folder.update_crl(trust)


async def close_connection(
    broker: FleetEndpoint, cabinet: str, quiet_s: float = QUIET_S, within_s: float = CLOSED_WITHIN_S
) -> bool:
    """Close the cabinet's connection and report it offline; return whether it stayed away for `quiet_s`.

    Raises CabinetError if the broker cannot be reached.
    """
    quiet = reached = False
    problem = "no answer"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not quiet:
                client = _client(broker, cabinet)
                try:
                    await client.open()
                    reached = True
                    quiet = await _held(client, cabinet, quiet_s)
                except aiomqtt.MqttError as error:
                    problem = str(error)
                    await asyncio.sleep(0 if reached else RETRY_S)
                finally:
                    client.drop()
    if not reached:
        raise CabinetError(f"broker {broker.host}:{broker.port}: {problem}")
    return quiet


def _client(broker: FleetEndpoint, cabinet: str) -> MqttClient:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0
    return MqttClient(
        broker.host,
        broker.port,
        identifier=cabinet,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=True,  # the only one in the fleet: the revoked cabinet's session shall end
        properties=properties,
        timeout=ANSWER_WITHIN_S,
        tls_context=broker.tls(),
    )


async def _held(client: MqttClient, cabinet: str, quiet_s: float) -> bool:
    """Report the cabinet offline and wait; return True after `quiet_s`. Raises MqttError if its id is taken back."""
    await client.publish(messages.up(cabinet, "online"), messages.encode(Online(False)), qos=1, retain=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(quiet_s):
            async for _ in client.incoming():
                pass
    return True
