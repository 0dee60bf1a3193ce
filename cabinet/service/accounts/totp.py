"""One-time codes that a phone and the cabinet derive from a shared secret and the time (RFC 6238 over RFC 4226). Pure.

SHA-1, six digits, a step of 30 s: the defaults of every authenticator app. A code of the step before or after is valid
too: a synchronised clock is right to the second, a phone's nearly so, and reading and typing take time.

If the cabinet's clock is not synchronised, it may be days behind (a Pi without a clock battery starts at the time of
its shutdown): no drift would be wide enough, and a wider one would only help guessing. Codes then work if the clock
happens to be right; recovery codes need no clock and always work.
"""

import base64
import hmac
from urllib.parse import quote, urlencode

STEP_S = 30
DIGITS = 6
DRIFT_STEPS = 1
SECRET_BYTES = 20  # as long as the hash: RFC 4226, section 4, R6


def code_of(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """Return the code of the `step`th half minute since 1970 (UTC); `step` is not negative."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}}"


def step_of(secret: bytes, code: str, unix_s: int, after: int) -> int | None:
    """Return the step of `code`, near `unix_s` and later than the used step `after`; None if the code is wrong."""
    now, found = unix_s // STEP_S, None
    for step in range(max(0, after + 1, now - DRIFT_STEPS), now + DRIFT_STEPS + 1):
        if hmac.compare_digest(code_of(secret, step).encode(), code.encode()):
            found = step if found is None else found
    return found


def is_code(text: str) -> bool:
    """Return whether `text` has the form of a code."""
    return len(text) == DIGITS and text.isascii() and text.isdigit()


def secret_text(secret: bytes) -> str:
    """Format a secret for typing into a phone: base32 in groups of four."""
    text = base64.b32encode(secret).decode().rstrip("=")
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def address(secret: bytes, issuer: str, name: str) -> str:
    """Return the content of the QR code: an otpauth address that authenticator apps read."""
    issuer = issuer.replace(":", " ")
    asked = urlencode({"secret": secret_text(secret).replace(" ", ""), "issuer": issuer}, quote_via=quote)
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(name, safe='')}?{asked}"
