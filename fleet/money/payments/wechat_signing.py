"""Signing rules of WeChat Pay API v3. Pure: the caller gives times and nonces.

Source: pay.weixin.qq.com, "API v3: signature, verification, decryption of notifications and certificates", as of 2026.
Requests and answers are signed with RSA PKCS #1 v1.5 and SHA-256 over lines that end with a newline each; contents of
notifications are sealed with AES-256-GCM under the merchant's API v3 key.
"""

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fleet.money.payments.rsa_signing import BadSignature, sign

SCHEME = "WECHATPAY2-SHA256-RSA2048"
PROBE = "WECHATPAY/SIGNTEST/"
"""The begin of a signature by which the platform tests that wrong ones are refused."""

API_KEY_BYTES = 32


def request_text(method: str, target: str, timestamp: int, nonce: str, body: bytes) -> bytes:
    """Return the signed text of a request; `target` is path and query."""
    return f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def answer_text(timestamp: str, nonce: str, body: bytes) -> bytes:
    """Return the signed text of an answer or a notification; `body` as received."""
    return f"{timestamp}\n{nonce}\n".encode() + body + b"\n"


def bridge_text(app_id: str, timestamp: str, nonce: str, package: str) -> bytes:
    """Return the signed text of the arguments of the pay sheet."""
    return f"{app_id}\n{timestamp}\n{nonce}\n{package}\n".encode()


def authorization(
    key: RSAPrivateKey, merchant: str, serial: str, method: str, target: str, timestamp: int, nonce: str, body: bytes
) -> str:
    """Return the header `Authorization` of a request."""
    signature = sign(key, request_text(method, target, timestamp, nonce, body))
    return (
        f'{SCHEME} mchid="{merchant}",nonce_str="{nonce}",signature="{signature}",'
        f'timestamp="{timestamp}",serial_no="{serial}"'
    )


def unseal(api_key: bytes, nonce: str, associated: str, ciphertext: str) -> bytes:
    """Return the contents of a sealed resource. Raises BadSignature."""
    try:
        return AESGCM(api_key).decrypt(nonce.encode(), base64.b64decode(ciphertext, validate=True), associated.encode())
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise BadSignature("the seal does not fit") from error
