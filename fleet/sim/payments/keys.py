"""Keys, certificates, signatures and seals of the simulated platforms, from the primitives of `cryptography`."""

import base64
import datetime
import hashlib
import itertools
import os
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID

KEY_BITS = 2048
_ORDER = ((NameOID.COUNTRY_NAME, "C"), (NameOID.ORGANIZATION_NAME, "O"), (NameOID.COMMON_NAME, "CN"))
_serials = itertools.count(0x5157F09EFDC096DE)


@dataclass(frozen=True)
class SimKey:
    """An RSA key."""

    private: rsa.RSAPrivateKey

    @property
    def pem(self) -> str:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def public_pem(self) -> str:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def signature(self, text: str) -> str:
        return base64.b64encode(self.private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


class _KeyShelf:
    """All keys that this process made. Making one takes a third of a second, so tests may take them from the start."""

    def __init__(self) -> None:
        self._made: list[SimKey] = []
        self._taken = 0

    def take(self) -> SimKey:
        """Return a key that was not taken since `start_over`."""
        if self._taken == len(self._made):
            self._made.append(SimKey(rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)))
        self._taken += 1
        return self._made[self._taken - 1]

    def start_over(self) -> None:
        self._taken = 0


_shelf = _KeyShelf()
new_key, start_over = _shelf.take, _shelf.start_over


def fits(public_pem: str, text: str, signature: str) -> bool:
    """Return whether the signature is that of the key for the text."""
    key = load_pem_public_key(public_pem.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    try:
        key.verify(base64.b64decode(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class SimCertificate:
    """A certificate with its key. `number` is the serial number in hexadecimal, as WeChat Pay names it."""

    key: SimKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def number(self) -> str:
        return f"{self.certificate.serial_number:X}"

    @property
    def md5_number(self) -> str:
        """Return the number by which Alipay names it."""
        values = {oid: self.certificate.issuer.get_attributes_for_oid(oid) for oid, _ in _ORDER}
        issuer = ",".join(f"{word}={values[oid][0].value!s}" for oid, word in reversed(_ORDER) if values[oid])
        return hashlib.md5(f"{issuer}{self.certificate.serial_number}".encode(), usedforsecurity=False).hexdigest()


def make_certificate(name: str, issuer: SimCertificate | None, now: datetime.datetime) -> SimCertificate:
    """Make a certificate for five years; without an issuer it signs itself."""
    key = new_key()
    subject = x509.Name(
        [x509.NameAttribute(oid, {"C": "CN", "O": "Simulator"}.get(word, name)) for oid, word in _ORDER]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.private.public_key())
        .serial_number(next(_serials))
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=5 * 365))
    )
    signer = key if issuer is None else issuer.key
    return SimCertificate(key, builder.sign(signer.private, hashes.SHA256()))


def seal(api_key: str, associated: str, text: str) -> dict[str, str]:
    """Return the text as a sealed resource."""
    nonce = base64.b64encode(os.urandom(9)).decode()
    closed = AESGCM(api_key.encode()).encrypt(nonce.encode(), text.encode(), associated.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": nonce,
        "associated_data": associated,
        "ciphertext": base64.b64encode(closed).decode(),
    }
