"""Enrolment at the cabinet: what is stored, what is refused, what stays as it was."""

import datetime
import re
import shutil
import stat
from pathlib import Path

import pytest

from cabinet.errors import CabinetError
from cabinet.link.uplink_protocol import read_keys
from cabinet.texts import Texts, table
from cabinet.uplink import connection, enrolment, problems
from cabinet.uplink.enrolment import EnrolmentFiles
from cabinet.uplink.messages import Enrol, Enrolled
from cabinet.uplink.problems import CODES, REFUSED, EnrolmentError
from cabinet_testing.enrolment_server import enrolment_server
from cabinet_testing.fleet_broker import now
from fleet.enrolment import EnrolmentRefused
from fleet.trust import TrustFolder

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed here")
CODE = "ABCD-EFGH-JKLM-NPQR"


class SmallFleet:
    """Signs what is asked for with the right code."""

    def __init__(self, folder: Path) -> None:
        self.trust = TrustFolder(folder)
        self.trust.make(["127.0.0.1"], now())
        self.asked: list[Enrol] = []
        self.at = now()

    def __call__(self, request: Enrol, address: str) -> Enrolled:
        self.asked.append(request)
        if request.code != CODE:
            raise EnrolmentRefused("code_refused")
        return Enrolled(
            cabinet="cab-1",
            certificate_pem=self.trust.sign_csr(request.csr_pem, "cab-1", self.at).pem,
            ca_pem=self.trust.ca_pem(),
            host="broker.example",
            port=8883,
            keys=self.trust.public_keys(),
            public_url="https://charge.example",
        )


@pytest.fixture
def fleet(tmp_path):
    return SmallFleet(tmp_path / "trust")


@pytest.fixture
def address(fleet):
    with enrolment_server(fleet, fleet.trust.broker_certificate, fleet.trust.broker_key) as url:
        yield url


@pytest.fixture
def files(tmp_path):
    return EnrolmentFiles(tmp_path / "state")


def enrol(files, fleet, address, code=CODE, **options):
    options.setdefault("ca", fleet.trust.ca_certificate)
    return enrolment.enrol(files, address, code, "SITE", **options)


def test_code_gets_a_certificate_for_a_key_that_stays_at_the_cabinet(files, fleet, address):
    place = enrol(files, fleet, address)
    assert (place.cabinet, place.host, place.port) == ("cab-1", "broker.example", 8883)
    assert files.place() == place
    assert "PRIVATE KEY" not in fleet.asked[0].csr_pem
    broker = files.broker(place)
    assert "PRIVATE KEY" in broker.identity.read_text()
    assert stat.S_IMODE(broker.identity.stat().st_mode) == 0o600
    keys = read_keys(files.keys)
    assert keys is not None
    assert [key.key_id for key in keys.keys] == [key.key_id for key in fleet.trust.public_keys()]
    subject = enrolment.openssl("x509", "-noout", "-subject", "-in", str(broker.identity))
    assert subject.strip() == "subject=CN = cab-1", "the fleet's name for it, whatever the request says"


def test_refused_code_changes_nothing(files, fleet, address):
    before = enrol(files, fleet, address)
    identity = files.broker(before).identity.read_bytes()
    with pytest.raises(EnrolmentError, match="code_refused"):
        enrol(files, fleet, address, "WRON-GWRO-NGWR-ONGW")
    assert (files.place(), files.broker(before).identity.read_bytes()) == (before, identity)


def test_enrolment_again_replaces_key_and_certificate(files, fleet, address):
    first = files.broker(enrol(files, fleet, address)).identity.read_bytes()
    version = files.version()
    second = files.broker(enrol(files, fleet, address)).identity.read_bytes()
    assert first.split(b"-----END")[0] != second.split(b"-----END")[0], "a new key"
    assert files.version() != version, "the running uplink sees it"


def test_server_of_another_authority_is_not_asked(files, fleet, address, tmp_path):
    other = TrustFolder(tmp_path / "other")
    other.make(["127.0.0.1"], now())
    for ca in (other.ca_certificate, None):
        with pytest.raises(EnrolmentError, match="fleet_untrusted"):
            enrol(files, fleet, address, ca=ca)
    assert (fleet.asked, files.place()) == ([], None)


@pytest.mark.parametrize("url", ["", "charge.example", "ftp://charge.example", "http://charge.example"])
def test_address_without_https_is_refused(files, fleet, url):
    with pytest.raises(EnrolmentError, match="bad_address"):
        enrol(files, fleet, url)


def test_answer_with_a_certificate_for_another_key_is_refused(files, fleet, address, monkeypatch):
    _, other_csr = enrolment.make_key_and_csr()
    answer = fleet.trust.sign_csr

    def sign(csr: str, *rest):
        return answer(other_csr, *rest)

    monkeypatch.setattr(fleet.trust, "sign_csr", sign)
    with pytest.raises(EnrolmentError, match="bad_answer"):
        enrol(files, fleet, address)
    assert files.place() is None
    assert list(files.folder.glob("identity*")) == []


def test_expired_server_certificate_counts_only_with_a_synchronised_clock(files, fleet, tmp_path):
    """A clock at 1970, or five years ahead, must not shut the way to the fleet: what it orders is signed."""
    ended = TrustFolder(tmp_path / "ended")
    ended.make(["127.0.0.1"], now() - datetime.timedelta(days=15 * 365))
    with enrolment_server(fleet, ended.broker_certificate, ended.broker_key) as url:
        with pytest.raises(EnrolmentError, match="fleet_untrusted"):
            enrol(files, fleet, url, ca=ended.ca_certificate, trusted_time=True)
        assert enrol(files, fleet, url, ca=ended.ca_certificate, trusted_time=False).cabinet == "cab-1"


def test_fleet_that_does_not_answer_is_named(files, fleet):
    with pytest.raises(EnrolmentError, match="fleet_unreachable"):
        enrol(files, fleet, "https://127.0.0.1:1")


def test_key_that_others_may_read_is_refused(files, fleet, address):
    place = enrol(files, fleet, address)
    files.broker(place).identity.chmod(0o640)
    with pytest.raises(CabinetError, match="others may read it"):
        files.broker(place)


def test_renewed_certificate_is_used_with_its_own_new_key(files, fleet, address):
    place = enrol(files, fleet, address)
    before = files.broker(place).identity.read_text()
    old, csr = files.new_request(), files.new_request()
    with pytest.raises(EnrolmentError, match="bad_answer"):
        files.renew(place, fleet.trust.sign_csr(old, "cab-1", now()).pem)
    assert files.broker(place).identity.read_text() == before, "an answer to an earlier request changes nothing"
    fleet.at += datetime.timedelta(days=200)
    files.renew(place, fleet.trust.sign_csr(csr, "cab-1", fleet.at).pem)
    after = files.broker(place).identity.read_text()
    assert after.split("-----END")[0] != before.split("-----END")[0]
    assert files.life().not_before_s == int((fleet.at - datetime.timedelta(days=1)).timestamp())


def test_certificate_is_due_at_two_thirds_of_its_life(files, fleet, address):
    enrol(files, fleet, address)
    life = files.life()
    share = (life.renew_from_s - life.not_before_s) / (life.not_after_s - life.not_before_s)
    assert share == pytest.approx(2 / 3, abs=1e-6)


def test_known_time_survives_and_damage_of_it_is_no_time(files):
    assert files.known_time_s() == 0
    files.folder.mkdir(parents=True)
    files.store_known_time(1_796_000_000)
    assert files.known_time_s() == 1_796_000_000
    (files.folder / "known-time").write_text("not a number")
    assert files.known_time_s() == 0


@pytest.mark.parametrize("language", ["zh", "en"])
def test_each_problem_tells_staff_what_to_do(language):
    words = Texts("console_see", language)
    assert {
        key.removeprefix("uplink_error.") for key in table("console_see", language) if "uplink_error." in key
    } == CODES
    assert all(words(f"uplink_error.{code}") for code in CODES)


def test_each_code_in_the_sources_is_one_of_the_problems():
    sources = [path.read_text() for path in Path(problems.__file__).parent.glob("*.py")]
    raised = re.findall(r"(?:LinkFailed|EnrolmentError)\(\"(\w+)\"", "".join(sources))
    assert len(raised) > 10
    assert set(raised) <= CODES
    assert set(connection._ALERTS.values()) <= REFUSED
