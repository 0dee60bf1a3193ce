"""The usage log's bytes and proofs: the canonical JSON that is hashed or signed, its hash, and the signature's check.

Pure. The cabinet writes by these rules, and everything outside that keeps a copy of the log verifies by them.
"""

import base64
import hashlib
from typing import Any

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from cabinet.records import Closing, SignedClosing, UsageRecord

FIRST_PREVIOUS_HASH = "0" * 64

_encoder = msgspec.json.Encoder(order="sorted")


def canonical(record: UsageRecord) -> bytes:
    """Return the bytes to hash: all fields except the hash itself and the card, which can be erased.

    Records from before the introduction of holders contain their masked card, and keep it.
    """
    fields: dict[str, Any] = msgspec.to_builtins(record)
    del fields["record_hash"]
    del fields["card" if record.holder else "holder"]
    return _encoder.encode(fields)


def hash_of_body(body: bytes) -> str:
    """Return the hash of a record's canonical JSON."""
    return hashlib.sha256(body).hexdigest()


def hash_of(record: UsageRecord) -> str:
    """Return the hash computed from the contents of the record."""
    return hash_of_body(canonical(record))


def canonical_closing(closing: Closing) -> bytes:
    """Return the bytes to sign."""
    return _encoder.encode(closing)


def is_signed(signed: SignedClosing, key: str) -> bool:
    """Return whether the signature matches the public `key`."""
    try:
        VerifyKey(base64.b64decode(key, validate=True)).verify(
            canonical_closing(signed.closing), base64.b64decode(signed.signature, validate=True)
        )
    except (BadSignatureError, ValueError):
        return False
    return True
