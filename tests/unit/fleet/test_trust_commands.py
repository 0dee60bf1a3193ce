"""`fleet broker` and `fleet cabinet`, as the operator types them."""

import asyncio
import re
import shutil

import pytest
from cryptography import x509

from cabinet.uplink import enrolment as cabinet_side
from cabinet.uplink.connection import FleetConnection
from cabinet.uplink.messages import Enrol
from cabinet.uplink.problems import LinkFailed
from cabinet_testing.fleet_broker import SKIP_REASON, free_ports, now, run_mosquitto
from fleet import enrolment
from fleet.enrolment import EnrolmentPlace
from fleet.main import main
from fleet.store import companies, database
from fleet.trust import TrustFolder

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")


@pytest.fixture
def ports():
    return free_ports(2)


@pytest.fixture
def fleet(tmp_path, url, run, capsys, ports):
    """Runs a command of a fleet with one company; returns its exit status and what it printed."""
    port, fleet_port = ports
    config = tmp_path / "fleet.toml"
    config.write_text(
        f'[database]\nurl = "{url}"\n[web]\npublic_url = "https://charge.example"\n'
        f"[broker]\nport = {fleet_port}\npublic_port = {port}\n"
    )

    async def add_company():
        async with await database.connect(url, autocommit=True) as connection:
            company = await companies.add(connection, "Green Court")
            await companies.add_site(connection, company, "East gate")

    run(add_company())

    def fleet(*words: str) -> tuple[int, str]:
        status = main([*words, "--config", str(config)])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return fleet


def add(fleet, cabinet="c-garden-3"):
    return fleet("cabinet", "add", cabinet, "--company", "Green Court", "--site", "East gate")


def test_broker_folder_is_written_and_keys_stay(fleet, tmp_path):
    status, shown = fleet("broker", "config", "--host", "broker.example")
    assert (status, shown) == (0, f"mosquitto -c {tmp_path}/broker/mosquitto.conf\n")
    ca = (tmp_path / "trust/ca.pem").read_bytes()
    assert (tmp_path / "broker/ca.pem").read_bytes() == ca
    assert not (tmp_path / "broker/ca.key").exists()
    first = (tmp_path / "broker/broker.pem").read_bytes()
    names = x509.load_pem_x509_certificate(first).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"], "the worker's way to it"
    fleet("broker", "config", "--host", "broker.example", "--new-certificate")
    assert ca == (tmp_path / "trust/ca.pem").read_bytes()
    assert first != (tmp_path / "broker/broker.pem").read_bytes()


def test_keys_for_orders_are_listed_made_and_retired(fleet):
    fleet("broker", "config")
    _, before = fleet("broker", "keys")
    _, new = fleet("broker", "new-key")
    assert fleet("broker", "new-key")[0] == 1, "two at most"
    _, both = fleet("broker", "keys")
    assert both.startswith(before)
    assert both.splitlines()[1].split()[0] == new.strip()
    assert fleet("broker", "retire-key", before.split()[0])[0] == 0
    assert fleet("broker", "keys")[1] == both.removeprefix(before)


def test_cabinet_is_added_with_a_code_and_listed(fleet):
    status, code = add(fleet)
    assert status == 0
    assert re.fullmatch(r"(?:[2-9A-Z]{4}-){3}[2-9A-Z]{4}\n", code)
    assert add(fleet) == (1, "c-garden-3: this id is in use\n")
    assert add(fleet, "FLEET")[0] == 1
    _, listed = fleet("cabinet", "list")
    assert listed.split()[:3] == ["c-garden-3", "not", "enrolled"]
    assert fleet("cabinet", "list", "--company", "None")[0] == 1
    assert fleet("cabinet", "code", "c-unknown-1")[0] == 1


@pytest.mark.skipif(bool(SKIP_REASON), reason=SKIP_REASON)
def test_revoking_closes_the_connection_of_an_enrolled_cabinet(fleet, url, tmp_path, ports):
    fleet("broker", "config")
    trust, place = TrustFolder(tmp_path / "trust"), EnrolmentPlace("127.0.0.1", ports[0], "https://charge.example")
    files = cabinet_side.EnrolmentFiles(tmp_path / "state")

    async def enrol(code: str) -> None:
        key, csr = cabinet_side.make_key_and_csr()
        async with await database.connect(url, autocommit=True) as connection:
            enrolled = await enrolment.enrol(connection, trust, Enrol(code, csr, "SITE"), "::1", place, now())
        files.store(key, enrolled)

    async def connect() -> FleetConnection:
        stored = files.place()
        assert stored is not None
        return await FleetConnection.open(files.broker(stored), trusted_time=True, not_before_unix_s=0)

    async def scenario() -> None:
        _, code = await asyncio.to_thread(add, fleet)
        await enrol(code.strip())
        connection = await connect()
        status, shown = await asyncio.to_thread(fleet, "cabinet", "revoke", "c-garden-3")
        assert (status, shown) == (0, "c-garden-3: revoked; it has no connection\n")
        with pytest.raises(LinkFailed):
            async for _ in connection.received():
                pass
        with pytest.raises(LinkFailed, match="certificate_revoked"):
            await connect()
        refused = await asyncio.to_thread(fleet, "cabinet", "code", "c-garden-3")
        assert refused == (1, "c-garden-3: is revoked; a code lets it in again: --restore\n")
        _, code = await asyncio.to_thread(fleet, "cabinet", "code", "c-garden-3", "--restore")
        await enrol(code.strip())
        (await connect()).close()

    with run_mosquitto(tmp_path / "broker/mosquitto.conf"):
        asyncio.run(scenario())
