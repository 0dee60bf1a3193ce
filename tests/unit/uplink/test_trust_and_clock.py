"""Certificates over their life, a clock that is wrong, a code from the console, and an identity that exists twice."""

import asyncio
import datetime

import pytest

from cabinet.clock import SystemClock, WallTime
from cabinet.link.uplink_protocol import status_file
from cabinet.uplink import enrolment
from cabinet.uplink.connection import FleetConnection
from cabinet.uplink.enrolment import EnrolmentFiles
from cabinet.uplink.messages import Certificate, Enrol, Enrolled, FleetKey, TrustKeys
from cabinet.uplink.problems import LinkFailed
from cabinet_testing.enrolment_server import enrolment_server
from cabinet_testing.fake_fleet import FakeFleet
from cabinet_testing.fleet_broker import FleetBroker, now
from cabinet_testing.uplink_harness import UplinkHarness, start_order
from fleet.enrolment import EnrolmentRefused

pytestmark = pytest.mark.usefixtures("broker_installed")
YEAR = datetime.timedelta(days=365)
BROKER_MADE = -12 * YEAR  # its certificate has ended two years ago


class WrongClock(SystemClock):
    """The machine's clock with another wall time."""

    def __init__(self, unix_s: float, trusted: bool) -> None:
        self._unix_ms = int(unix_s * 1000)
        self._trusted = trusted

    def wall(self) -> WallTime:
        return WallTime(self._unix_ms, self._trusted)


@pytest.fixture(scope="module")
def old_broker(tmp_path_factory):
    """A broker with a certificate that has ended."""
    folder = tmp_path_factory.mktemp("old")
    broker = FleetBroker(folder, broker_made=now() + BROKER_MADE)
    broker.start()
    yield broker
    broker.stop()


def test_unsynchronised_clock_does_not_shut_the_cabinet_out(old_broker, tmp_path):
    """Only the present time is left out of the checks: the known time still counts, and so does all the rest."""

    async def scenario() -> None:
        old_broker.enrol("cab-1", tmp_path)
        files = EnrolmentFiles(tmp_path)
        place = files.place()
        assert place is not None
        ended_s = (now() + BROKER_MADE + datetime.timedelta(days=10 * 365)).timestamp()
        connection = await FleetConnection.open(
            files.broker(place), trusted_time=False, not_before_unix_s=ended_s - 86_400
        )
        connection.close()
        for trusted, known_s in ((True, 0.0), (False, ended_s + 86_400)):
            with pytest.raises(LinkFailed) as caught:
                await FleetConnection.open(files.broker(place), trusted_time=trusted, not_before_unix_s=known_s)
            assert caught.value.code == "broker_untrusted"

    asyncio.run(scenario())


@pytest.mark.parametrize("unix_s", [0, now().timestamp() + 5 * 365 * 86_400], ids=["1970", "five years ahead"])
def test_cabinet_with_a_wrong_clock_connects_and_stores_no_time(broker, tmp_path, unix_s):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, f"cab-{int(unix_s) % 1000:03}", broker)
        async with FakeFleet(broker).running() as fleet, uplink.running(WrongClock(unix_s, trusted=False)):
            await uplink.service.add_facts(10)
            await uplink.service.until(lambda: uplink.service.acked == 10)
            assert not fleet.requests, "a wrong clock asks for no certificate"
        assert EnrolmentFiles(uplink.state).known_time_s() == 0

    asyncio.run(scenario())


def test_time_of_a_synchronised_clock_is_known_afterwards(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-known", broker)
        files, at = EnrolmentFiles(uplink.state), now().timestamp()
        async with uplink.running(WrongClock(at, trusted=True)):
            async with asyncio.timeout(20):
                while files.known_time_s() == 0:
                    await asyncio.sleep(0.02)
        assert files.known_time_s() == int(at)

    asyncio.run(scenario())


def test_certificate_is_renewed_over_the_connection_and_used_from_the_next_one(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-renews", broker, made=now() - datetime.timedelta(days=300))
        files = EnrolmentFiles(uplink.state)
        due_s = files.life().not_after_s
        async with FakeFleet(broker).running() as fleet, uplink.running(WrongClock(now().timestamp(), trusted=True)):
            await fleet.until(lambda: bool(fleet.requests))
            issued = broker.trust.sign_csr(fleet.requests[0], "cab-renews", now())
            await fleet.send("certificate", Certificate(cabinet="cab-renews", certificate_pem="nonsense"))
            await fleet.send("certificate", Certificate(cabinet="cab-renews", certificate_pem=issued.pem))
            async with asyncio.timeout(20):
                while files.life().not_after_s == due_s:
                    await asyncio.sleep(0.05)
            broker.revoke(uplink.serial)  # of before
            status = uplink.status
            assert status is not None
            assert status.certificate_until_unix_ms == int(issued.not_after.timestamp()) * 1000
            assert status.state == "connected"
        status_file(uplink.run).unlink()
        async with uplink.running():
            status = await uplink.until_status("connected")
            assert status.certificate_until_unix_ms == int(issued.not_after.timestamp()) * 1000

    asyncio.run(scenario())


def test_disk_that_takes_no_file_does_not_end_the_connection(broker, tmp_path, caplog):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-full", broker, made=now() - datetime.timedelta(days=300))
        for name in ("known-time", "renewal-key.pem"):
            (uplink.state / "uplink" / f"{name}.part" / "x").mkdir(parents=True)
        async with FakeFleet(broker).running(), uplink.running(WrongClock(now().timestamp(), trusted=True)):
            await uplink.service.add_facts(10)
            await uplink.service.until(lambda: uplink.service.acked == 10)
            assert (await uplink.until_status("connected")).error == ""

    asyncio.run(scenario())
    assert "certificate and known time" in caplog.text


def test_keys_for_orders_rotate_without_a_moment_in_which_none_is_trusted(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-rotates", broker)
        (old,) = broker.trust.public_keys()
        async with FakeFleet(broker).running() as fleet, uplink.running():
            await fleet.until(lambda: "cab-rotates" in fleet.online)
            assert fleet.online["cab-rotates"].keys == [old.key_id]
            new_id = broker.trust.add_order_key()
            await fleet.send("order", start_order("cab-rotates", "ORDER-NEW1"), key=1)
            await uplink.service.until(lambda: uplink.service.refused == ["untrusted"])
            both = broker.trust.public_keys()
            await fleet.send("keys", TrustKeys(cabinet="cab-rotates", keys=both), key=1)
            await fleet.send("keys", TrustKeys(cabinet="cab-rotates", keys=both))
            await fleet.until(lambda: fleet.online["cab-rotates"].keys == [old.key_id, new_id])
            for number in (0, 1):
                await fleet.send("order", start_order("cab-rotates", f"ORDER-KEY{number}"), key=number)
            await fleet.until(lambda: len(fleet.answers) == 2)
            await fleet.send("keys", TrustKeys(cabinet="cab-rotates", keys=both[1:]), key=1)
            await fleet.until(lambda: fleet.online["cab-rotates"].keys == [new_id])
            await fleet.send("order", start_order("cab-rotates", "ORDER-OLD1"))
            await uplink.service.until(lambda: len(uplink.service.refused) == 2)
            wrong = TrustKeys(cabinet="cab-rotates", keys=[FleetKey("00000000", both[0].public)])
            await fleet.send("keys", wrong, key=1)
            await fleet.send("order", start_order("cab-rotates", "ORDER-NEW2"), key=1)
            await fleet.until(lambda: len(fleet.answers) == 3)
        broker.trust.retire_order_key(new_id)

    asyncio.run(scenario())


def test_expired_certificate_is_named_and_a_code_at_the_console_is_the_way_back(broker, tmp_path):
    """The cabinet was switched off for a year."""

    def answer(request: Enrol, address: str) -> Enrolled:
        if request.code != "GOOD-CODE":
            raise EnrolmentRefused("code_refused")
        return Enrolled(
            cabinet="cab-back",
            certificate_pem=broker.trust.sign_csr(request.csr_pem, "cab-back", now()).pem,
            ca_pem=broker.trust.ca_pem(),
            host=broker.host,
            port=broker.port,
            keys=broker.trust.public_keys(),
            public_url="https://charge.example",
        )

    async def scenario(url: str) -> None:
        uplink = UplinkHarness(tmp_path, "cab-back", broker, made=now() - 2 * YEAR)
        uplink.settings = type(uplink.settings)(uplink.state, uplink.run, "SITE", url, str(broker.trust.ca_certificate))
        async with FakeFleet(broker).running() as fleet, uplink.running():
            status = await uplink.until_status("refused")
            assert status.error.startswith("certificate_expired")
            uplink.service.code = "WRONG-CODE"
            await uplink.service.change()
            async with asyncio.timeout(20):
                while uplink.status is None or not uplink.status.error.startswith("code_refused"):
                    await asyncio.sleep(0.02)
            uplink.service.code = "GOOD-CODE"
            await uplink.service.change()
            await uplink.until_status("connected")
            await fleet.until(lambda: "cab-back" in fleet.online)

    with enrolment_server(answer, broker.trust.broker_certificate, broker.trust.broker_key) as url:
        asyncio.run(scenario(url))


def test_cabinet_that_was_never_enrolled_waits_for_it(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-first", None)
        async with uplink.running():
            await uplink.until_status("not_enrolled")
            broker.enrol("cab-first", uplink.state)  # by the command, in another process
            await uplink.until_status("connected")

    asyncio.run(scenario())


def test_identity_that_exists_twice_is_named(broker, tmp_path):
    """A copied card: the two end each other's connections."""

    async def scenario() -> None:
        first = UplinkHarness(tmp_path / "a", "cab-twin", broker)
        second = UplinkHarness(tmp_path / "b", "cab-twin", None)
        (first.state / "uplink").rename(tmp_path / "copied")
        for harness in (first, second):
            harness.state.mkdir(parents=True, exist_ok=True)
            (harness.state / "uplink").symlink_to(tmp_path / "copied")
        async with first.running(), second.running():
            async with asyncio.timeout(60):
                while not any(h.status and h.status.error.startswith("closed_again") for h in (first, second)):
                    await asyncio.sleep(0.05)

    asyncio.run(scenario())


def test_clock_of_openssl_reads_the_life_of_a_certificate(broker, tmp_path):
    issued = broker.enrol("cab-life", tmp_path)
    life = EnrolmentFiles(tmp_path).life()
    assert life.not_before_s == int(issued.not_before.timestamp())
    assert life.not_after_s == int(issued.not_after.timestamp())
    assert enrolment.openssl("version").startswith("OpenSSL 3")
