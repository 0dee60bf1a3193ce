"""Secrets of merchant accounts, sealed for the database: AES-256-GCM under a key in a file beside the trust folder.

A dump of the database alone shows none of them. Each is bound to its account: copied into another row, it cannot be
opened.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cabinet.errors import CabinetError, os_error_at
from cabinet.system.atomic_file import write_file
from cabinet.system.secret_files import check_private

KEY_BYTES = 32
NONCE_BYTES = 12
PRIVATE = 0o600


class SecretBox:
    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, text: bytes, account: str) -> bytes:
        """Return the sealed text; only for `account` can it be opened."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text, account.encode())

    def open(self, sealed: bytes, account: str) -> bytes:
        """Return the text. Raises CabinetError if the key or the account is another one, or it was changed."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], account.encode())
        except (InvalidTag, ValueError) as error:
            raise CabinetError(f"{account}: its secrets were sealed with another key (payments.key)") from error


def open_box(path: Path) -> SecretBox:
    """Return the box with the key in a file. Raises CabinetError."""
    check_private(path)
    with os_error_at(path, ": `fleet merchant add` makes it"):
        key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise CabinetError(f"{path}: a key has {KEY_BYTES} bytes, this has {len(key)}")
    return SecretBox(key)


def make_key(path: Path) -> None:
    """Write a new key, unless there is one. Raises CabinetError."""
    if not path.exists():
        with os_error_at(path):
            write_file(path, os.urandom(KEY_BYTES), PRIVATE)
