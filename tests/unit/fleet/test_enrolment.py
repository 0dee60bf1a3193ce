"""Enrolment and revocation in the database: a code works once, wrong ones are all alike, and addresses are counted."""

import datetime
import shutil

import pytest

from cabinet.uplink import enrolment as cabinet_side
from cabinet.uplink.messages import Enrol
from cabinet_testing import fleet_scene
from cabinet_testing.fleet_broker import now
from fleet import enrolment, revocation
from fleet.broker import BrokerFolder
from fleet.enrolment import EnrolmentPlace, EnrolmentRefused
from fleet.store import certificates, database
from fleet.trust import TrustFolder

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")
DAY = datetime.timedelta(days=1)
PLACE = EnrolmentPlace("broker.example", 8883, "https://charge.example")
ADDRESS = "203.0.113.7"


@pytest.fixture
def trust(tmp_path):
    folder = TrustFolder(tmp_path / "trust")
    folder.make(["127.0.0.1"], now())
    return folder


@pytest.fixture
def in_fleet(url, run):
    """Run a scenario with a connection to a database with two cabinets."""

    def in_fleet(scenario):
        async def work():
            async with await database.connect(url, autocommit=True) as connection:
                scene = await fleet_scene.add_company(connection)
                for cabinet in ("cab-1", "cab-2"):
                    await fleet_scene.add_cabinet(connection, scene, cabinet)
                await scenario(connection, scene)

        run(work())

    return in_fleet


async def enrol(connection, trust, code, address=ADDRESS, csr=None):
    request = Enrol(code, csr or cabinet_side.make_key_and_csr()[1], "SITE")
    return await enrolment.enrol(connection, trust, request, address, PLACE, now())


async def refusal(connection, trust, code, address=ADDRESS, csr=None):
    try:
        await enrol(connection, trust, code, address, csr)
    except EnrolmentRefused as refused:
        return refused.code, refused.status
    return None


def test_code_is_good_once_and_however_it_is_typed(in_fleet, trust):
    async def scenario(connection, scene):
        code = await enrolment.make_code(connection, "cab-1", DAY)
        enrolled = await enrol(connection, trust, f" {code.lower().replace('-', ' ')} ")
        assert (enrolled.cabinet, enrolled.host, enrolled.port) == ("cab-1", "broker.example", 8883)
        assert enrolled.keys == trust.public_keys()
        assert await refusal(connection, trust, code) == ("code_refused", 403)
        (row,) = await certificates.of_cabinet(connection, "cab-1")
        assert row.revoked is None

    in_fleet(scenario)


def test_wrong_used_expired_and_void_code_have_one_answer(in_fleet, trust):
    async def scenario(connection, scene):
        expired = await enrolment.make_code(connection, "cab-1", -DAY)
        void = await enrolment.make_code(connection, "cab-2", DAY)
        used = await enrolment.make_code(connection, "cab-2", DAY)
        await enrol(connection, trust, used)
        answers = {await refusal(connection, trust, code) for code in (expired, void, used, enrolment.new_code())}
        assert answers == {("code_refused", 403)}

    in_fleet(scenario)


def test_ten_wrong_codes_from_an_address_stop_it_for_an_hour_and_no_other(in_fleet, trust):
    async def scenario(connection, scene):
        code = await enrolment.make_code(connection, "cab-1", DAY)
        for _ in range(enrolment.MAX_FAILURES):
            assert await refusal(connection, trust, enrolment.new_code()) == ("code_refused", 403)
        assert await refusal(connection, trust, code) == ("too_many_tries", 429), "the right one too"
        assert (await enrol(connection, trust, code, "203.0.113.8")).cabinet == "cab-1"
        await connection.execute("UPDATE sign_in_failure SET at = at - interval '61 minutes'")
        assert await refusal(connection, trust, code) == ("code_refused", 403)

    in_fleet(scenario)


def test_bad_request_does_not_use_the_code_up(in_fleet, trust):
    async def scenario(connection, scene):
        code = await enrolment.make_code(connection, "cab-1", DAY)
        assert await refusal(connection, trust, code, csr="nonsense") == ("bad_request", 400)
        assert (await enrol(connection, trust, code)).cabinet == "cab-1"

    in_fleet(scenario)


def test_enrolment_again_revokes_the_certificates_of_before(in_fleet, trust):
    async def scenario(connection, scene):
        for _ in range(2):
            await enrol(connection, trust, await enrolment.make_code(connection, "cab-1", DAY))
        newest, before = sorted(
            await certificates.of_cabinet(connection, "cab-1"), key=lambda row: row.revoked is not None
        )
        assert (newest.revoked, before.revoked is not None) == (None, True)
        assert [row.serial for row in await certificates.revoked(connection)] == [before.serial]

    in_fleet(scenario)


def test_revoked_cabinet_gets_nothing_until_it_is_enrolled_again(in_fleet, trust, tmp_path):
    async def scenario(connection, scene):
        _, csr = cabinet_side.make_key_and_csr()
        await enrol(connection, trust, await enrolment.make_code(connection, "cab-1", DAY))
        waiting = await enrolment.make_code(connection, "cab-1", DAY)
        await revocation.revoke(connection, scene.company_id, "cab-1", "operator")
        assert await refusal(connection, trust, waiting) == ("code_refused", 403), "a code from before"
        with pytest.raises(EnrolmentRefused):
            await enrolment.renew(connection, trust, "cab-1", csr, now())
        folder = BrokerFolder(tmp_path / "broker")
        assert not await revocation.publish_list(connection, trust, folder, now()), "no broker runs here"
        assert (tmp_path / "broker" / "crl.pem").read_bytes() == trust.crl.read_bytes()
        await enrol(connection, trust, await enrolment.make_code(connection, "cab-1", DAY))
        assert await enrolment.renew(connection, trust, "cab-1", csr, now())

    in_fleet(scenario)


def test_renewals_are_limited_by_the_day(in_fleet, trust):
    async def scenario(connection, scene):
        _, csr = cabinet_side.make_key_and_csr()
        await enrol(connection, trust, await enrolment.make_code(connection, "cab-1", DAY))
        for _ in range(enrolment.MAX_RENEWALS - 1):
            certificate = await enrolment.renew(connection, trust, "cab-1", csr, now())
            assert certificate.cabinet == "cab-1"
        with pytest.raises(EnrolmentRefused, match="too_many_tries"):
            await enrolment.renew(connection, trust, "cab-1", csr, now())
        with pytest.raises(EnrolmentRefused, match="code_refused"):
            await enrolment.renew(connection, trust, "cab-unknown", csr, now())

    in_fleet(scenario)


def test_addresses_of_one_ipv6_subscriber_count_together():
    assert enrolment.address_key("2001:db8:1:2:3::1") == enrolment.address_key("2001:db8:1:2:ffff::9")
    assert enrolment.address_key("2001:db8:1:3::1") != enrolment.address_key("2001:db8:1:2::1")
    assert enrolment.address_key("unknown") == "enrol:unknown"


def test_codes_have_80_bits_and_no_letters_that_look_alike():
    codes = {enrolment.new_code() for _ in range(100)}
    assert len(codes) == 100
    assert all(len(code.replace("-", "")) == 16 for code in codes)
    assert not set("".join(codes)) & set("01IOio")
