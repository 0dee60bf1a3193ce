"""RSA PKCS #1 v1.5 with SHA-256, as both platforms sign. Pure."""

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from cabinet.errors import CabinetError


class BadSignature(CabinetError):
    """A signature, a seal or a certificate that does not fit."""


def sign(key: RSAPrivateKey, text: bytes) -> str:
    """Return the signature in base64."""
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


def verify(key: RSAPublicKey, text: bytes, signature: str) -> None:
    """Raise BadSignature unless the signature is the key's for this text."""
    try:
        key.verify(base64.b64decode(signature, validate=True), text, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise BadSignature("the signature does not fit") from error
