"""A renewed certificate from the fleet, opened with the keys of the enrolment."""

import base64
from pathlib import Path

from nacl.signing import VerifyKey

from cabinet.link.uplink_protocol import read_keys
from cabinet.uplink import orders
from cabinet.uplink.messages import Certificate, MessageError


def open_certificate(payload: bytes, keys_file: Path, cabinet: str) -> str:
    """Return the certificate in PEM. Raises MessageError for any other message or signature, LinkError for bad keys."""
    keys = read_keys(keys_file)
    trusted = {} if keys is None else {key.key_id: VerifyKey(base64.b64decode(key.public)) for key in keys.keys}
    message = orders.open_signed(payload, trusted, cabinet)
    if not isinstance(message, Certificate):
        raise MessageError("not a certificate")
    return message.certificate_pem
