"""Heads of a cabinet's usage log as the fleet keeps them, signed with its key for orders. Pure.

The file is written by `fleet usage heads --sign` and compared by `cabinet usage verify --anchor`. The signature covers
a prefix that names its purpose, so no signature of an order or another message counts as one of heads.
"""

import base64
from collections.abc import Mapping

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from cabinet.errors import CabinetError
from cabinet.records import UsageHead
from cabinet.uplink.orders import key_id

_PURPOSE = b"cabinet fleet usage heads\n"


class AnchorError(CabinetError):
    """A file of heads that this fleet has not signed for this cabinet."""


class Anchor(msgspec.Struct, frozen=True):
    """The last record of every day, as mirrored at the fleet; `signed_unix_ms` by the fleet's clock."""

    cabinet: str
    signed_unix_ms: int
    heads: list[UsageHead]


class SignedAnchor(msgspec.Struct, frozen=True):
    """`body` is the JSON of an `Anchor`, as signed; `signature` is base64."""

    key_id: str
    signature: str
    body: str


def sign_anchor(key: SigningKey, anchor: Anchor) -> bytes:
    """Return the contents of the file."""
    body = msgspec.json.encode(anchor)
    signature = base64.b64encode(key.sign(_PURPOSE + body).signature).decode()
    return msgspec.json.encode(SignedAnchor(key_id(key.verify_key), signature, body.decode()))


def open_anchor(content: bytes, keys: Mapping[str, VerifyKey], cabinet: str) -> Anchor:
    """Return the heads if one of `keys` (by key id) signed them for `cabinet`. Raises AnchorError."""
    try:
        signed = msgspec.json.decode(content, type=SignedAnchor)
        key = keys.get(signed.key_id)
        if key is None:
            raise AnchorError("signed with a key that is not trusted here")
        key.verify(_PURPOSE + signed.body.encode(), base64.b64decode(signed.signature, validate=True))
        anchor = msgspec.json.decode(signed.body, type=Anchor)
    except BadSignatureError as error:
        raise AnchorError("the signature does not match: it was changed") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise AnchorError(f"is no file of signed heads: {error}") from error
    if anchor.cabinet != cabinet:
        raise AnchorError(f"these are the heads of {anchor.cabinet}")
    return anchor
