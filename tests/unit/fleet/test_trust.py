"""The fleet's authority: what it signs, what it refuses, and who may read its keys."""

import datetime
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cabinet.errors import CabinetError
from cabinet.uplink import orders
from cabinet.uplink.messages import Ack
from fleet.trust import FLEET_NAME, Revoked, TrustError, TrustFolder, renewal_due

NOW = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)


@pytest.fixture
def trust(tmp_path):
    folder = TrustFolder(tmp_path / "trust")
    folder.make(["broker.example", "127.0.0.1"], NOW)
    return folder


def csr(key=None, name="cab-9") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = x509.CertificateSigningRequestBuilder().subject_name(subject)
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return (
        built.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


def test_secrets_are_readable_by_their_owner_only(trust):
    for path in [trust.ca_key, trust.broker_key, trust.fleet_key, *trust.order_keys.glob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(trust.path.stat().st_mode) == 0o700
    trust.ca_key.chmod(0o644)
    with pytest.raises(CabinetError, match="others may read it"):
        trust.sign_csr(csr(), "cab-1", NOW)


def test_making_again_replaces_nothing(trust):
    before = {path: path.read_bytes() for path in trust.path.rglob("*") if path.is_file()}
    trust.make(["other.example"], NOW)
    assert {path: path.read_bytes() for path in trust.path.rglob("*") if path.is_file()} == before


def test_certificate_has_the_cabinets_name_and_may_sign_nothing(trust):
    """Name and rights are the fleet's decision, whatever the request asks for."""
    issued = trust.sign_csr(csr(name="cab-2"), "cab-1", NOW)
    certificate = x509.load_pem_x509_certificate(issued.pem.encode())
    assert [name.value for name in certificate.subject] == ["cab-1"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (issued.not_after - NOW).days == 365
    assert int(issued.serial, 16) == certificate.serial_number
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(trust.ca_certificate.read_bytes()))


@pytest.mark.parametrize("cabinet", ["", "x", "CAB", "cab/+", "cab-#", FLEET_NAME, "cab 1", "c" * 33, "cab\n1", "-cab"])
def test_name_that_is_no_cabinets_is_never_signed(trust, cabinet):
    with pytest.raises(TrustError):
        trust.sign_csr(csr(), cabinet, NOW)


def test_bad_requests_are_refused(trust):
    good = csr()
    lines = good.splitlines()
    lines[3] = lines[3][:-1] + ("A" if lines[3][-1] != "A" else "B")
    bad = [
        "",
        "x" * 5000,
        good.replace("REQUEST", "NONSENSE"),
        "\n".join(lines),
        csr(rsa.generate_private_key(65537, 2048)),
        csr(ec.generate_private_key(ec.SECP384R1())),
    ]
    for request in bad:
        with pytest.raises(TrustError):
            trust.sign_csr(request, "cab-1", NOW)


def test_revocation_list_names_the_serials_and_does_not_end_before_the_authority(trust):
    """An expired list would make the broker refuse every cabinet."""
    issued = trust.sign_csr(csr(), "cab-1", NOW)
    trust.write_crl([Revoked(issued.serial, NOW)], NOW)
    listed = x509.load_pem_x509_crl(trust.crl.read_bytes())
    assert [entry.serial_number for entry in listed] == [int(issued.serial, 16)]
    ca = x509.load_pem_x509_certificate(trust.ca_certificate.read_bytes())
    assert listed.next_update_utc == ca.not_valid_after_utc
    assert listed.is_signature_valid(ca.public_key())  # type: ignore[arg-type]


def test_fleets_own_certificate_is_not_of_the_cabinets_authority(trust):
    certificate = x509.load_pem_x509_certificate(trust.fleet_certificate.read_bytes())
    assert certificate.subject == certificate.issuer
    assert [name.value for name in certificate.subject] == [FLEET_NAME]


def test_keys_for_orders_rotate_two_at_most(trust):
    (first,) = trust.public_keys()
    second = trust.add_order_key()
    assert [key.key_id for key in trust.public_keys()] == [first.key_id, second], "oldest first"
    with pytest.raises(TrustError, match="two keys already"):
        trust.add_order_key()
    trusted = {orders.key_id(key.verify_key): key.verify_key for key in trust.signing_keys()}
    ack = Ack(cabinet="cab-1", epoch="e", number=1)
    for key in trust.signing_keys():
        assert orders.open_signed(orders.sign(key, ack), trusted, "cab-1") == ack
    trust.retire_order_key(first.key_id)
    assert [key.key_id for key in trust.public_keys()] == [second]
    third = trust.add_order_key()
    assert [key.key_id for key in trust.public_keys()] == [second, third]


def test_last_key_for_orders_cannot_be_retired(trust):
    (only,) = trust.public_keys()
    with pytest.raises(TrustError, match="only key"):
        trust.retire_order_key(only.key_id)
    with pytest.raises(TrustError, match="no such key"):
        trust.retire_order_key("00000000")


def test_renewal_is_due_after_two_thirds():
    start, end = NOW, NOW + datetime.timedelta(days=366)
    assert not renewal_due(start, end, NOW + datetime.timedelta(days=243))
    assert renewal_due(start, end, NOW + datetime.timedelta(days=244))
