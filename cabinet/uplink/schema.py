"""Schema version of a message that cannot be decoded otherwise: the better reason for its refusal. Pure."""

import msgspec


class _Versioned(msgspec.Struct):
    v: int | None = None


def version_in(payload: bytes) -> int | None:
    """Return the version that the JSON states, whatever else is in it; None if it states none, or is no JSON."""
    try:
        return msgspec.json.decode(payload, type=_Versioned).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
