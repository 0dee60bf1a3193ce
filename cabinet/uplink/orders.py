"""Signature of everything the fleet sends to a cabinet: Ed25519 over the bytes as sent. Pure.

Layout: 1 byte format, 8 bytes key id, 64 bytes signature, then the body (JSON of one `messages.Down`). The signature
covers a prefix that names its purpose, the format, the key id and the body, so no bit of a message can be changed.
"""

import hashlib
from collections.abc import Mapping

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from cabinet.uplink import messages
from cabinet.uplink.messages import Down, MessageError

FORMAT = 1
KEY_ID_BYTES = 8
SIGNATURE_BYTES = 64
HEADER_BYTES = 1 + KEY_ID_BYTES + SIGNATURE_BYTES
_PURPOSE = b"cabinet fleet message\n"


class UntrustedMessage(MessageError):
    """A message whose signature, key or format is not one that this cabinet trusts."""


def key_id(public: VerifyKey) -> str:
    """Return the name of a key: the first 8 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(bytes(public)).hexdigest()[:KEY_ID_BYTES]


def sign(key: SigningKey, message: Down) -> bytes:
    """Return the payload to publish."""
    header = bytes([FORMAT]) + key_id(key.verify_key).encode()
    body = messages.encode(message)
    return header + key.sign(_PURPOSE + header + body).signature + body


def open_signed(payload: bytes, keys: Mapping[str, VerifyKey], cabinet: str) -> Down:
    """Return the message if one of `keys` (by key id) signed it for `cabinet`.

    Raises UntrustedMessage; MessageError if the body is of an unknown kind.
    """
    if not HEADER_BYTES < len(payload) <= messages.MAX_MESSAGE or payload[0] != FORMAT:
        raise UntrustedMessage("not a signed message of a known format")
    name = payload[1 : 1 + KEY_ID_BYTES]
    key = keys.get(name.decode("ascii", "replace"))
    if key is None:
        raise UntrustedMessage("signed with a key that is not trusted here")
    body = payload[HEADER_BYTES:]
    try:
        key.verify(_PURPOSE + payload[: 1 + KEY_ID_BYTES] + body, payload[1 + KEY_ID_BYTES : HEADER_BYTES])
    except BadSignatureError as error:
        raise UntrustedMessage("the signature does not match") from error
    message = messages.decode_down(body)
    if message.cabinet != cabinet:
        raise UntrustedMessage(f"a message for {message.cabinet}")
    return message
