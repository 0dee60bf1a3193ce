"""Rights at the broker, with a second certificate: what is delivered counts, not what SUBACK says."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from cabinet.uplink.connection import FleetConnection
from cabinet.uplink.enrolment import EnrolmentFiles, openssl
from cabinet.uplink.mqtt_client import MqttClient
from cabinet.uplink.problems import LinkFailed
from cabinet_testing.fake_fleet import FakeFleet
from cabinet_testing.fleet_broker import FleetBroker, now, tls
from cabinet_testing.uplink_harness import UplinkHarness, start_order
from fleet import revocation
from fleet.revocation import FleetEndpoint
from fleet.trust import FLEET_NAME, TrustFolder


def identity(state: Path) -> Path:
    return state / "uplink" / "identity.pem"


@contextlib.asynccontextmanager
async def client(
    broker: FleetBroker, context: ssl.SSLContext | None, name: str = "any", port: int | None = None
) -> AsyncIterator[MqttClient]:
    """Connect to the public listener, or to `port`, with a client id of its choice."""
    connected = MqttClient(
        broker.host,
        port or broker.port,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        tls_context=context,
        timeout=5,
    )
    try:
        await connected.open()
        yield connected
    finally:
        connected.drop()


def as_cabinet(broker: FleetBroker, state: Path) -> ssl.SSLContext:
    return tls(broker.trust.ca_certificate, identity(state))


async def is_refused(broker: FleetBroker, context: ssl.SSLContext | None, name: str, port: int) -> bool:
    try:
        async with client(broker, context, name, port):
            return False
    except aiomqtt.MqttError:
        return True


async def open_connection(state: Path) -> FleetConnection:
    files = EnrolmentFiles(state)
    place = files.place()
    assert place is not None
    return await FleetConnection.open(files.broker(place), trusted_time=True, not_before_unix_s=0)


def test_cabinet_publishes_only_below_its_own_name(broker, tmp_path):
    async def scenario() -> None:
        broker.enrol("cab-own", tmp_path / "own")
        broker.enrol("cab-other", tmp_path / "other")
        async with (
            FakeFleet(broker).running() as fleet,
            client(broker, as_cabinet(broker, tmp_path / "other"), "cab-own") as other,
        ):
            for topic in ("cab/cab-own/up/online", "cab/cab-own/down/order", "cab/x/up/online"):
                await other.publish(topic, b'{"online": true}', qos=1, retain=True)
            await other.publish("cab/cab-other/up/online", b'{"online": true}', qos=1)
            await fleet.until(lambda: "cab-other" in fleet.online)
            assert fleet.online.keys() == {"cab-other"}, "its own, whatever client id it claims"

    asyncio.run(scenario())


def test_cabinet_gets_no_message_of_another(broker, tmp_path):
    async def scenario() -> None:
        broker.enrol("cab-reader", tmp_path / "reader")
        async with (
            FakeFleet(broker).running() as fleet,
            client(broker, as_cabinet(broker, tmp_path / "reader")) as reader,
        ):
            for topic in ("cab/+/down/#", "cab/cab-victim/down/#", "#", "cab/+/up/#", "$SYS/#"):
                await reader.subscribe(topic, qos=1)
            await fleet.send("order", start_order("cab-victim"))
            await fleet.send("order", start_order("cab-reader"))
            got = set()
            async with asyncio.timeout(10):
                async for message in reader.incoming():
                    got.add(message.topic.value)
                    if "cab/cab-reader/down/order" in got:
                        break
            assert got == {"cab/cab-reader/down/order"}

    asyncio.run(scenario())


def test_connection_without_a_certificate_is_refused(broker):
    async def scenario() -> None:
        for port in (broker.port, broker.fleet_port):
            assert await is_refused(broker, tls(broker.trust.ca_certificate), "x", port)
            assert await is_refused(broker, None, "x", port)

    asyncio.run(scenario())


def test_certificate_of_another_authority_is_refused_even_with_the_same_name(broker, tmp_path):
    async def scenario() -> None:
        broker.enrol("cab-same", tmp_path / "good")
        other = TrustFolder(tmp_path / "trust")
        other.make(["127.0.0.1"], now())
        path = identity(tmp_path / "good")
        key = path.read_text().split("-----BEGIN CERTIFICATE")[0]
        csr = openssl("req", "-new", "-subj", "/CN=cab-same", "-key", "/dev/stdin", given=key)
        path.write_text(key + other.sign_csr(csr, "cab-same", now()).pem)
        with pytest.raises(LinkFailed) as caught:
            await open_connection(tmp_path / "good")
        assert (caught.value.code, caught.value.refused) == ("certificate_refused", True), caught.value

    asyncio.run(scenario())


def test_no_cabinet_gets_into_the_fleets_listener(broker, tmp_path):
    """There a client chooses its id, and with it could end another's connection."""

    async def scenario() -> None:
        broker.enrol("cab-inside", tmp_path)
        assert await is_refused(broker, as_cabinet(broker, tmp_path), "cab-victim", broker.fleet_port)
        assert not await is_refused(broker, broker.fleet_tls(), "any", broker.fleet_port)

    asyncio.run(scenario())


def test_fleets_certificate_is_none_of_the_public_listener(broker):
    async def scenario() -> None:
        assert await is_refused(broker, broker.fleet_tls(), FLEET_NAME, broker.port)

    asyncio.run(scenario())


def test_cabinet_cannot_end_the_connection_of_another(broker, tmp_path):
    """The client id that it gives is replaced by its certificate's name."""

    async def scenario() -> None:
        broker.enrol("cab-victim", tmp_path / "victim")
        broker.enrol("cab-attacker", tmp_path / "attacker")
        victim = await open_connection(tmp_path / "victim")
        async with (
            FakeFleet(broker).running() as fleet,
            client(broker, as_cabinet(broker, tmp_path / "attacker"), "cab-victim"),
        ):
            await victim.publish("online", b'{"online": true}')
            await fleet.until(lambda: "cab-victim" in fleet.online)
        victim.close()

    asyncio.run(scenario())


def test_second_connection_of_one_identity_ends_the_first(broker, tmp_path):
    async def scenario() -> None:
        broker.enrol("cab-twice", tmp_path)
        first = await open_connection(tmp_path)
        second = await open_connection(tmp_path)
        with pytest.raises(LinkFailed):
            async for _ in first.received():
                pass
        first.close()
        second.close()

    asyncio.run(scenario())


def test_revoked_cabinets_open_connection_is_gone_within_10_s_and_it_cannot_come_back(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-revoked", broker)
        async with FakeFleet(broker).running() as fleet, uplink.running():
            await uplink.until_status("connected")
            await fleet.until(lambda: fleet.online.get("cab-revoked") is not None)
            endpoint = FleetEndpoint(broker.host, broker.fleet_port, broker.fleet_tls)
            async with asyncio.timeout(10):
                broker.revoke(uplink.serial)
                closing = asyncio.create_task(revocation.close_connection(endpoint, "cab-revoked"))
                status = await uplink.until_status("refused")
            assert await closing
            await fleet.until(lambda: not fleet.online["cab-revoked"].online)
            async with asyncio.timeout(10):
                while not status.error.startswith("certificate_revoked"):
                    await asyncio.sleep(0.05)
                    status = uplink.status or status

    asyncio.run(scenario())


def test_revocation_without_the_brokers_list_is_reported_as_not_done(broker, tmp_path):
    """The cabinet comes back each time: close_connection must not claim that it is gone."""

    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-returns", broker)

        async def returns_at_once() -> None:
            while True:
                with contextlib.suppress(LinkFailed):
                    connection = await open_connection(uplink.state)
                    async for _ in connection.received():
                        pass

        endpoint = FleetEndpoint(broker.host, broker.fleet_port, broker.fleet_tls)
        task = asyncio.create_task(returns_at_once())
        assert not await revocation.close_connection(endpoint, "cab-returns", quiet_s=1, within_s=3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_revoked_certificate_is_refused_with_a_session_of_tls_from_before(broker, tmp_path):
    """A resumed TLS session skips the check of the certificate; the broker's new list ends all of them."""
    issued = broker.enrol("cab-resumes", tmp_path)
    context = tls(broker.trust.ca_certificate, identity(tmp_path))
    connect = b"\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x06cabx01"

    def talk(session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None, bool | None]:
        with (
            socket.create_connection((broker.host, broker.port), 5) as plain,
            context.wrap_socket(plain, server_hostname=broker.host, session=session) as sock,
        ):
            try:
                sock.sendall(connect)
                return sock.recv(1), sock.session, sock.session_reused
            except ssl.SSLError:
                return b"", None, sock.session_reused

    first, session, _ = talk(None)
    assert first == b"\x20", "CONNACK"
    assert talk(session)[2], "resumed"
    broker.revoke(issued.serial)
    assert talk(session)[0] == b""
