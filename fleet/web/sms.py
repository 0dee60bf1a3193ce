"""Codes by SMS: the port, a provider that writes them into a file, and Alibaba Cloud SMS over its HTTP API.

Alibaba Cloud: action SendSms of version 2017-05-25 at dysmsapi.aliyuncs.com, signed by its method V3
(ACS3-HMAC-SHA256); a code other than "OK" in the answer means that nothing was sent. Source: the provider's pages
"SendSms" and "V3 request structure and signature", as of 2026.
"""

import asyncio
import datetime
import hashlib
import hmac
import json
import logging
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from cabinet.clock import SystemClock
from cabinet.errors import CabinetError, os_error_at
from cabinet.system.secret_files import check_private
from fleet.config import SmsSection

log = logging.getLogger(__name__)

ALGORITHM = "ACS3-HMAC-SHA256"
HOST = "dysmsapi.aliyuncs.com"
TIMEOUT_S = 5.0
MAX_ANSWER = 64 * 1024  # bytes

Post = Callable[[str, Mapping[str, str]], bytes]
"""Sends an empty POST to an address with headers; returns the body of the answer. Raises OSError."""


class SmsNotSent(CabinetError):
    """A message was not sent; the reason is in the log of the fleet, never on a page."""


class SmsPort(Protocol):
    async def send(self, phone: str, code: str) -> None:
        """Send a code to a phone number of mainland China, 11 digits. Raises SmsNotSent."""


def provider_of(section: SmsSection) -> SmsPort | None:
    """Return the configured provider; None if residents sign in with cards only. Raises CabinetError."""
    if section.provider == "file":
        return FileSms(Path(section.file))
    if section.provider == "aliyun":
        path = Path(section.access_key_secret)
        check_private(path)
        with os_error_at(path):
            secret = path.read_text(encoding="ascii").strip()
        return AliyunSms(section, secret)
    return None


class FileSms:
    """Appends a line with time, phone and code to a file that only its owner can read: for development and tests."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, phone: str, code: str) -> None:
        moment = _utc().isoformat(timespec="seconds")
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{moment} {phone} {code}\n")
        except OSError as error:
            log.error("codes by SMS: %s: %s", self._path, error.strerror)
            raise SmsNotSent(str(self._path)) from error


class AliyunSms:
    def __init__(self, section: SmsSection, secret: str, post: Post | None = None) -> None:
        self._section = section
        self._secret = secret
        self._post = post or _post

    async def send(self, phone: str, code: str) -> None:
        query = {
            "PhoneNumbers": phone,
            "SignName": self._section.sign_name,
            "TemplateCode": self._section.template_code,
            "TemplateParam": json.dumps({"code": code}),
        }
        headers = signed_headers(
            HOST, "SendSms", "2017-05-25", query, self._section.access_key_id, self._secret,
            _utc(), secrets.token_hex(16),
        )  # fmt: skip
        try:
            answer = await asyncio.to_thread(self._post, f"https://{HOST}/?{canonical_query(query)}", headers)
            outcome: Any = json.loads(answer)
            sent, reason = outcome.get("Code") == "OK", f"{outcome.get('Code')}: {outcome.get('Message')}"
        except (OSError, ValueError, AttributeError) as error:
            sent, reason = False, f"{type(error).__name__}: {error}"
        if not sent:
            log.error("codes by SMS: not sent: %s", reason[:300])
            raise SmsNotSent(reason)


def signed_headers(
    host: str,
    action: str,
    version: str,
    query: Mapping[str, str],
    key_id: str,
    secret: str,
    at: datetime.datetime,
    nonce: str,
) -> dict[str, str]:
    """Return the headers of an empty POST to `/`, signed by method V3."""
    body_hash = hashlib.sha256(b"").hexdigest()
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": body_hash,
        "x-acs-date": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join(("POST", "/", canonical_query(query), lines, names, body_hash))
    to_sign = f"{ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = f"{ALGORITHM} Credential={key_id},SignedHeaders={names},Signature={signature}"
    return headers


def canonical_query(query: Mapping[str, str]) -> str:
    """Return the query sorted and encoded by RFC 3986."""
    return "&".join(f"{_encoded(name)}={_encoded(query[name])}" for name in sorted(query))


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _post(address: str, headers: Mapping[str, str]) -> bytes:
    request = urllib.request.Request(address, data=b"", headers=dict(headers), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            body: bytes = answer.read(MAX_ANSWER)
    except urllib.error.HTTPError as error:  # its body names the reason
        with error:
            body = error.read(MAX_ANSWER)
    return body


def _utc() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(SystemClock().wall().unix_ms / 1000, datetime.UTC)
