"""The fleet's small certificate authority and the keys of its orders: files in one folder, each secret with mode 0600.

One authority signs the broker's certificate and the cabinets'; a cabinet's name is the certificate's common name, by
which the broker ties it to its topics. The fleet's own processes use another listener of the broker, which accepts one
certificate that signs itself (`fleet.pem`): no cabinet gets in there.
"""

import base64
import datetime
import ipaddress
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from nacl.signing import SigningKey

from cabinet.errors import CabinetError, os_error_at
from cabinet.system.atomic_file import write_file
from cabinet.system.secret_files import check_private
from cabinet.uplink import orders
from cabinet.uplink.messages import CabinetId, FleetKey

FLEET_NAME = "FLEET"  # common name of the fleet's own processes; no cabinet can have it (`messages.CabinetId`)
CA_DAYS = 20 * 365
BROKER_DAYS = 10 * 365
CABINET_DAYS = 365
RENEW_AFTER = 2 / 3  # of a certificate's life
BACKDATED = datetime.timedelta(days=1)  # a cabinet's clock may be slow
MAX_ORDER_KEYS = 2
MAX_CSR_BYTES = 4096

_PRIVATE, _PUBLIC = 0o600, 0o644


class TrustError(CabinetError):
    """A file of the trust folder is missing or wrong, or a certificate request is not acceptable."""


class Issued(msgspec.Struct, frozen=True):
    """A certificate that was signed now. `serial` is hexadecimal."""

    pem: str
    serial: str
    not_before: datetime.datetime
    not_after: datetime.datetime


class Revoked(msgspec.Struct, frozen=True):
    """An entry of the revocation list."""

    serial: str
    at: datetime.datetime


class TrustFolder:
    """All keys and certificates of one fleet. `make` creates it once; every other call only reads or adds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ca_certificate = path / "ca.pem"
        self.ca_key = path / "ca.key"
        self.crl = path / "crl.pem"
        self.broker_certificate = path / "broker.pem"
        self.broker_key = path / "broker.key"
        self.fleet_certificate = path / "fleet.pem"
        self.fleet_key = path / "fleet.key"
        self.order_keys = path / "order-keys"

    def make(self, hosts: Sequence[str], now: datetime.datetime) -> None:
        """Make each part that is missing: authority, empty revocation list, certificates, one key for orders.

        `hosts`: names and addresses at which cabinets and fleet reach the broker. Raises CabinetError.
        """
        with os_error_at(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.order_keys.mkdir(mode=0o700, exist_ok=True)
            if not self.ca_certificate.exists():
                self._make_ca(now)
            if not self.crl.exists():
                self.write_crl([], now)
            if not self.broker_certificate.exists():
                self.make_broker_certificate(hosts, now)
            if not self.fleet_certificate.exists():
                self._make_fleet_certificate(now)
            if not self._order_key_files():
                self.add_order_key()

    # --- certificates ---

    def _make_ca(self, now: datetime.datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Charging cabinets: fleet authority")])
        certificate = (
            _builder(name, name, key.public_key(), now, CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_file(self.ca_key, _key_pem(key), _PRIVATE)
        write_file(self.ca_certificate, _pem(certificate), _PUBLIC)

    def make_broker_certificate(self, hosts: Sequence[str], now: datetime.datetime) -> None:
        """Make key and certificate of the broker for `hosts`. Raises TrustError if there is none."""
        if not hosts:
            raise TrustError("the broker's certificate needs the names or addresses at which it is reached")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        certificate = self._signed(
            name, key.public_key(), now, BROKER_DAYS, ExtendedKeyUsageOID.SERVER_AUTH, [_host(host) for host in hosts]
        )
        write_file(self.broker_key, _key_pem(key), _PRIVATE)
        write_file(self.broker_certificate, _pem(certificate), _PUBLIC)

    def _make_fleet_certificate(self, now: datetime.datetime) -> None:
        """Make the certificate of worker and web: it signs itself, and is the only one its listener accepts."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, FLEET_NAME)])
        certificate = (
            _builder(name, name, key.public_key(), now, CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_file(self.fleet_key, _key_pem(key), _PRIVATE)
        write_file(self.fleet_certificate, _pem(certificate), _PUBLIC)

    def sign_csr(self, csr_pem: str, cabinet: str, now: datetime.datetime, days: int = CABINET_DAYS) -> Issued:
        """Sign a cabinet's request: client certificate for `cabinet`, whatever name the request has itself.

        Raises TrustError for a bad request: only a key of EC P-256 that signed it is accepted.
        """
        if len(csr_pem) > MAX_CSR_BYTES or not _is_cabinet_id(cabinet):
            raise TrustError("not a certificate request of a cabinet")
        try:
            csr = x509.load_pem_x509_csr(csr_pem.encode())
            public = csr.public_key()
            valid = csr.is_signature_valid
        except (ValueError, TypeError, InvalidSignature) as error:
            raise TrustError("not a certificate request") from error
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1) or not valid:
            raise TrustError("a certificate request needs a signature by its own key of EC P-256")
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cabinet)])
        certificate = self._signed(name, public, now, days, ExtendedKeyUsageOID.CLIENT_AUTH)
        return Issued(
            _pem(certificate).decode(),
            f"{certificate.serial_number:x}",
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )

    def write_crl(self, revoked: Iterable[Revoked], now: datetime.datetime) -> None:
        """Write the revocation list. It ends with the authority: an expired list would shut out every cabinet."""
        ca = self._ca()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.subject)
            .last_update(now - BACKDATED)
            .next_update(ca.not_valid_after_utc)
        )
        for entry in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(int(entry.serial, 16)).revocation_date(entry.at).build()
            )
        pem = builder.sign(self._ca_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        with os_error_at(self.crl):
            write_file(self.crl, pem, _PUBLIC)

    def _signed(
        self,
        name: x509.Name,
        public: ec.EllipticCurvePublicKey,
        now: datetime.datetime,
        days: int,
        purpose: x509.ObjectIdentifier,
        hosts: Sequence[x509.GeneralName] = (),
    ) -> x509.Certificate:
        ca = self._ca()
        builder = (
            _builder(name, ca.subject, public, now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        return builder.sign(self._ca_key(), hashes.SHA256())

    def ca_pem(self) -> str:
        """Return the authority's certificate. Raises CabinetError if the folder was not made."""
        return _pem(self._ca()).decode()

    def _ca(self) -> x509.Certificate:
        with os_error_at(self.ca_certificate, ": `fleet broker config` makes it"):
            return x509.load_pem_x509_certificate(self.ca_certificate.read_bytes())

    def _ca_key(self) -> ec.EllipticCurvePrivateKey:
        check_private(self.ca_key)
        with os_error_at(self.ca_key, ": `fleet broker config` makes it"):
            key = serialization.load_pem_private_key(self.ca_key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TrustError(f"{self.ca_key}: not a key of EC P-256")
        return key

    # --- keys of orders ---

    def add_order_key(self) -> str:
        """Make one more key for orders; return its id. Raises TrustError if there are two."""
        if len(self._order_key_files()) >= MAX_ORDER_KEYS:
            raise TrustError("there are two keys already: retire the older one before a new one is made")
        key = SigningKey.generate()
        name = orders.key_id(key.verify_key)
        path = self.order_keys / f"{self._next_number():06d}-{name}.key"
        with os_error_at(path):
            write_file(path, base64.b64encode(bytes(key)) + b"\n", _PRIVATE, new=True)
        return name

    def retire_order_key(self, key_id: str) -> None:
        """Delete a key for orders. Raises TrustError if it is unknown, or the only one."""
        files = self._order_key_files()
        found = [path for path in files if path.stem.endswith(f"-{key_id}")]
        if not found or len(files) == 1:
            raise TrustError(f"{key_id}: " + ("the only key cannot be retired" if found else "there is no such key"))
        with os_error_at(found[0]):
            found[0].unlink()

    def signing_keys(self) -> list[SigningKey]:
        """Return the keys for orders, oldest first. Raises CabinetError if there is none, or if others may read one."""
        keys = []
        for path in self._order_key_files():
            check_private(path)
            with os_error_at(path):
                content = path.read_bytes()
            try:
                keys.append(SigningKey(base64.b64decode(content, validate=False)))
            except ValueError as error:
                raise TrustError(f"{path}: not a key for orders") from error
        if not keys:
            raise TrustError(f"{self.order_keys}: no key for orders: `fleet broker config` makes it")
        return keys

    def public_keys(self) -> list[FleetKey]:
        """Return the public keys that cabinets are to trust, oldest first."""
        return [public_key(key) for key in self.signing_keys()]

    def _order_key_files(self) -> list[Path]:
        return sorted(self.order_keys.glob("*.key"))

    def _next_number(self) -> int:
        return 1 + max((int(path.stem.split("-")[0]) for path in self._order_key_files()), default=0)


def public_key(key: SigningKey) -> FleetKey:
    """Return the public half of a key for orders, with its name."""
    return FleetKey(orders.key_id(key.verify_key), base64.b64encode(bytes(key.verify_key)).decode())


def renewal_due(not_before: datetime.datetime, not_after: datetime.datetime, now: datetime.datetime) -> bool:
    """Return whether two thirds of a certificate's life are over. Pure."""
    return now >= not_before + (not_after - not_before) * RENEW_AFTER


def _builder(
    name: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _is_cabinet_id(text: str) -> bool:
    try:
        msgspec.convert(text, CabinetId)
    except msgspec.ValidationError:
        return False
    return re.fullmatch(r"[a-z0-9-]+", text) is not None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
