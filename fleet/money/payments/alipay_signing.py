"""Signing rules of Alipay's gateway, with keys in certificates. Pure.

Source: opendocs.alipay.com, "sign", "verify asynchronous notifications", "certificate mode", as of 2026. RSA2 is RSA
PKCS #1 v1.5 with SHA-256. A request is signed over its parameters, sorted, without empty ones; an answer over the bytes
of its one inner object; a notification over its parameters without `sign` and `sign_type`, empty ones too.
"""

import hashlib
import json
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from fleet.money.payments.rsa_signing import BadSignature

SIGN_TYPE = "RSA2"

_RSA_SIGNED = frozenset({SignatureAlgorithmOID.RSA_WITH_SHA1, SignatureAlgorithmOID.RSA_WITH_SHA256})
_NAMES = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.COUNTRY_NAME: "C",
}


def signed_text(parameters: Mapping[str, str], *, notification: bool = False) -> bytes:
    """Return the signed text of a request, or of a notification: without `sign_type`, and with its empty values."""
    without = {"sign", "sign_type"} if notification else {"sign"}
    return "&".join(
        f"{name}={value}"
        for name, value in sorted(parameters.items())
        if name not in without and (value or notification)
    ).encode()


def inner_object(answer: str, name: str) -> str:
    """Return the inner object of an answer as it was sent: its signature covers these characters.

    Raises BadSignature if there is none.
    """
    begin = answer.find(f'"{name}"')
    begin = answer.find("{", begin) if begin >= 0 else -1
    if begin < 0:
        raise BadSignature(f"the answer has no {name}")
    try:
        _, end = json.JSONDecoder().raw_decode(answer, begin)
    except ValueError as error:
        raise BadSignature(f"{name} cannot be read") from error
    return answer[begin:end]


def certificate_number(certificate: x509.Certificate) -> str:
    """Return the number by which Alipay names a certificate: MD5 over issuer and serial number."""
    issuer = ",".join(
        f"{_NAMES.get(attribute.oid, attribute.oid.dotted_string)}={attribute.value!s}"
        for attribute in reversed(list(certificate.issuer))
    )
    return hashlib.md5(f"{issuer}{certificate.serial_number}".encode(), usedforsecurity=False).hexdigest()


def root_number(chain: list[x509.Certificate]) -> str:
    """Return the number of Alipay's root certificates: those signed with RSA, joined."""
    return "_".join(certificate_number(each) for each in chain if each.signature_algorithm_oid in _RSA_SIGNED)


def trusted_key(chain_pem: bytes, roots: list[x509.Certificate]) -> tuple[str, RSAPublicKey]:
    """Return number and key of the first certificate in `chain_pem`, which leads to one of `roots`.

    Raises BadSignature if it does not, or has no RSA key.
    """
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
    except ValueError as error:
        raise BadSignature("not a certificate") from error
    for below, above in zip(chain, [*chain[1:], None], strict=True):
        if any(_issued(below, root) for root in roots):
            break
        if above is None or not _issued(below, above):
            raise BadSignature("the certificate does not lead to Alipay's root")
    key = chain[0].public_key()
    if not isinstance(key, RSAPublicKey):
        raise BadSignature("the certificate has no RSA key")
    return certificate_number(chain[0]), key


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
