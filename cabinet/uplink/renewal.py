"""Renewed certificates and other keys from the fleet, opened with the keys that this cabinet trusts now."""

import base64
import binascii
from pathlib import Path

from nacl.signing import VerifyKey

from cabinet.errors import os_error_at
from cabinet.link.uplink_protocol import FleetKeys, TrustedKey, read_keys, write_keys
from cabinet.uplink import orders
from cabinet.uplink.messages import Certificate, Down, MessageError, TrustKeys


def open_certificate(payload: bytes, keys_file: Path, cabinet: str) -> str:
    """Return the certificate in PEM. Raises MessageError for any other message or signature, LinkError for bad keys."""
    message = _opened(payload, keys_file, cabinet)
    if not isinstance(message, Certificate):
        raise MessageError("not a certificate")
    return message.certificate_pem


def take_keys(payload: bytes, keys_file: Path, cabinet: str) -> list[str]:
    """Trust the keys in the message, and no others; return their ids. Raises CabinetError, and then nothing changed."""
    message = _opened(payload, keys_file, cabinet)
    if not isinstance(message, TrustKeys):
        raise MessageError("not keys")
    for key in message.keys:
        try:
            known = orders.key_id(VerifyKey(base64.b64decode(key.public, validate=True)))
        except (binascii.Error, ValueError) as error:
            raise MessageError(f"key {key.key_id}: not a public key") from error
        if known != key.key_id:
            raise MessageError(f"key {key.key_id}: its id is {known}")
    with os_error_at(keys_file):
        write_keys(keys_file, FleetKeys(cabinet, [TrustedKey(key.key_id, key.public) for key in message.keys]))
    return [key.key_id for key in message.keys]


def trusted_ids(keys_file: Path) -> list[str]:
    """Return the ids of the keys that this cabinet trusts. Raises LinkError for a damaged file."""
    keys = read_keys(keys_file)
    return [] if keys is None else [key.key_id for key in keys.keys]


def _opened(payload: bytes, keys_file: Path, cabinet: str) -> Down:
    keys = read_keys(keys_file)
    trusted = {} if keys is None else {key.key_id: VerifyKey(base64.b64decode(key.public)) for key in keys.keys}
    return orders.open_signed(payload, trusted, cabinet)
