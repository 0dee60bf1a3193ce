"""A merchant account at WeChat Pay, and the keys by which WeChat Pay is known to it.

An account has the platform's public key, its certificates, or both: while it moves from one to the other, answers
and notifications are signed with either. Certificates are fetched, sealed with the account's API v3 key; the next one
appears 24 hours before it is used, so they are fetched every 12 hours, and when an unknown one is named.
"""

import datetime
import logging
from collections.abc import Callable, Mapping
from typing import Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cabinet.errors import CabinetError
from fleet.money.payments import rsa_signing, wechat_signing
from fleet.money.payments.http import PlatformAnswer
from fleet.money.payments.port import MAX_NOTIFICATION_AGE_S

log = logging.getLogger(__name__)

FETCH_EVERY_S = 12 * 3600
FETCH_GAP_S = 60  # at least between two fetches: a notification with an invented serial number must not cause more


class WechatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The public part of an account. With `sub_merchant`, `merchant` and `app` are the service provider's."""

    merchant: str
    app: str
    serial: str  # of the merchant's own certificate
    sub_merchant: str = ""
    public_keys: dict[str, str] = {}  # PUB_KEY_ID_… → PEM
    certificates: bool = True  # whether the platform's certificates are fetched


class WechatSecrets(msgspec.Struct, frozen=True, kw_only=True):
    private_key: str  # PEM
    api_key: str  # API v3 key, 32 characters
    app_secret: str = ""  # of the official account, for the payer's openid

    def __repr__(self) -> str:
        return "WechatSecrets(…)"  # in no log and in no traceback


class WechatAddresses(msgspec.Struct, frozen=True, kw_only=True):
    api: str = "https://api.mch.weixin.qq.com"
    login: str = "https://open.weixin.qq.com/connect/oauth2/authorize"
    identity: str = "https://api.weixin.qq.com/sns/oauth2/access_token"


class SignedHeaders(msgspec.Struct, frozen=True):
    """The headers of a signed answer or notification; empty if they are missing."""

    timestamp: str
    nonce: str
    signature: str
    serial: str

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        return cls(*(headers.get(f"wechatpay-{name}", "") for name in ("timestamp", "nonce", "signature", "serial")))

    def is_fresh(self, now_s: float) -> bool:
        """Return whether the time is at most 5 minutes off, in either direction."""
        plain = self.timestamp.isascii() and self.timestamp.isdigit() and len(self.timestamp) <= 12
        return plain and abs(int(self.timestamp) - now_s) <= MAX_NOTIFICATION_AGE_S


class _Sealed(msgspec.Struct):
    nonce: str
    ciphertext: str
    associated_data: str = ""


class _Certificate(msgspec.Struct):
    serial_no: str
    expire_time: datetime.datetime
    encrypt_certificate: _Sealed


class _Certificates(msgspec.Struct):
    data: list[_Certificate]


class WechatKeys:
    """The keys that WeChat Pay may sign with now, by serial number or key id."""

    def __init__(self, settings: WechatSettings, hidden: WechatSecrets, now_s: Callable[[], float]) -> None:
        """Take the configured public keys. Raises CabinetError if one cannot be used."""
        if len(hidden.api_key.encode()) != wechat_signing.API_KEY_BYTES:
            raise CabinetError("WeChat Pay: an API v3 key has 32 characters")
        self._api_key = hidden.api_key.encode()
        self._now_s = now_s
        self._public = {name: _public_key(name, pem) for name, pem in settings.public_keys.items()}
        self._certificates: dict[str, tuple[RSAPublicKey, float]] = {}  # → key, end of its validity
        self._fetches = settings.certificates
        self._fetched_s = self._tried_s = float("-inf")

    def find(self, serial: str) -> RSAPublicKey | None:
        if serial in self._public:
            return self._public[serial]
        key, until_s = self._certificates.get(serial, (None, 0.0))
        return key if until_s > self._now_s() else None

    def verify(self, signed: SignedHeaders, body: bytes) -> None:
        """Raise BadSignature unless a key that is known signed the body."""
        key = self.find(signed.serial)
        if key is None:
            raise rsa_signing.BadSignature(f"signed with the unknown key {signed.serial[:64]!r}")
        rsa_signing.verify(key, wechat_signing.answer_text(signed.timestamp, signed.nonce, body), signed.signature)

    # --- certificates ------------------------------------------------------------------------------------------------

    def due(self) -> bool:
        """Return whether the certificates should be fetched again."""
        return self._fetches and self._now_s() - self._fetched_s >= FETCH_EVERY_S

    def may_fetch(self) -> bool:
        return self._fetches and self._now_s() - self._tried_s >= FETCH_GAP_S

    def fetching(self) -> None:
        self._tried_s = self._now_s()

    def failed(self, reason: str) -> None:
        log.warning("WeChat Pay: its certificates were not fetched: %s", reason)

    def take(self, answer: PlatformAnswer) -> None:
        """Take the certificates of an answer, which must be signed with one of them or with a key known before.

        Raises BadSignature.
        """
        try:
            found = msgspec.json.decode(answer.body, type=_Certificates)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise rsa_signing.BadSignature("the certificates cannot be read") from error
        before = self._certificates
        taken = dict(before)
        for each in found.data:
            sealed = each.encrypt_certificate
            pem = wechat_signing.unseal(self._api_key, sealed.nonce, sealed.associated_data, sealed.ciphertext)
            taken[each.serial_no] = _certificate_key(each.serial_no, pem), each.expire_time.timestamp()
        self._certificates = taken
        try:
            self.verify(SignedHeaders.of(answer.headers), answer.body)
        except rsa_signing.BadSignature:
            self._certificates = before
            raise
        self._fetched_s = self._now_s()


def _public_key(name: str, pem: str) -> RSAPublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise CabinetError(f"WeChat Pay: the public key {name} cannot be read") from error
    if not isinstance(key, RSAPublicKey):
        raise CabinetError(f"WeChat Pay: the public key {name} is no RSA key")
    return key


def _certificate_key(serial: str, pem: bytes) -> RSAPublicKey:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise rsa_signing.BadSignature("a certificate cannot be read") from error
    key = certificate.public_key()
    if f"{certificate.serial_number:X}" != serial.upper().lstrip("0") or not isinstance(key, RSAPublicKey):
        raise rsa_signing.BadSignature(f"certificate {serial[:64]} is another one")
    return key
