"""POST /enrol: what a cabinet sends and gets; a wrong code and a guess of codes get nothing."""

import datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cabinet.uplink.messages import Enrol, Enrolled, EnrolRefused
from cabinet_testing.fleet_broker import now
from cabinet_testing.fleet_web import FleetWeb, fleet_web
from fleet import enrolment
from fleet.trust import TrustFolder


def csr() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whatever")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def sections(folder: Path) -> dict[str, Any]:
    TrustFolder(folder / "trust").make(["127.0.0.1"], now())
    return {
        "trust": {"folder": str(folder / "trust")},
        "broker": {"folder": str(folder / "broker"), "public_host": "broker.example", "public_port": 8883},
    }


async def code_for(at: FleetWeb, cabinet: str) -> str:
    async with at.pool.connection() as connection:
        return await enrolment.make_code(connection, cabinet, datetime.timedelta(hours=1))


async def test_a_code_gets_a_certificate_once(url: str, tmp_path: Path) -> None:
    async with fleet_web(url, **sections(tmp_path)) as at:
        code = await code_for(at, "c-one")
        cabinet = (await at.browser()).client
        body = msgspec.json.encode(Enrol(code, csr(), "SITE"))
        answer = await cabinet.post("/enrol", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        enrolled = msgspec.json.decode(answer.content, type=Enrolled)
        assert (enrolled.cabinet, enrolled.host, enrolled.port) == ("c-one", "broker.example", 8883)
        certificate = x509.load_pem_x509_certificate(enrolled.certificate_pem.encode())
        assert certificate.subject.rfc4514_string() == "CN=c-one", "the fleet's name, whatever the request says"
        again = await cabinet.post("/enrol", content=body, headers={"content-type": "application/json"})
        assert (again.status_code, msgspec.json.decode(again.content, type=EnrolRefused).code) == (403, "code_refused")


async def test_what_is_no_enrolment_is_refused_and_guessing_ends(url: str, tmp_path: Path) -> None:
    async with fleet_web(url, **sections(tmp_path)) as at:
        cabinet = (await at.browser()).client
        for body in (b"", b"{}", b"[1]", b"\xff", b'{"code": 1}', b"x" * 20_000):
            answer = await cabinet.post("/enrol", content=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), body[:20]
        guess = msgspec.json.encode(Enrol("AAAA-AAAA-AAAA-AAAA", csr(), "SITE"))
        statuses = [(await cabinet.post("/enrol", content=guess)).status_code for _ in range(11)]
        assert statuses == [403] * 10 + [429]
        right = msgspec.json.encode(Enrol(await code_for(at, "c-one"), csr(), "SITE"))
        assert (await cabinet.post("/enrol", content=right)).status_code == 429, "of this address"
        assert (await cabinet.get("/enrol")).status_code == 405
