"""Keys, certificates and signatures made by `openssl` on the command line: vectors that no library of ours made."""

import base64
import subprocess
from pathlib import Path


def openssl(*words: str, given: bytes = b"") -> bytes:
    """Run openssl with `given` on its standard input; return its output."""
    done = subprocess.run(["openssl", *words], input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class OpensslKey:
    """An RSA key in a folder: `sign` and `verify` as another program would."""

    def __init__(self, folder: Path, name: str) -> None:
        self.private, self.public = folder / f"{name}.key", folder / f"{name}.pub"
        openssl("genrsa", "-out", str(self.private), "2048")
        openssl("rsa", "-in", str(self.private), "-pubout", "-out", str(self.public))

    def sign(self, text: bytes) -> str:
        """Return the signature in base64."""
        return base64.b64encode(openssl("dgst", "-sha256", "-sign", str(self.private), given=text)).decode()

    def verify(self, text: bytes, signature: str) -> bool:
        file = self.private.with_suffix(".sig")
        file.write_bytes(base64.b64decode(signature))
        words = ["openssl", "dgst", "-sha256", "-verify", str(self.public), "-signature", str(file)]
        return subprocess.run(words, input=text, capture_output=True, timeout=60, check=False).returncode == 0


def sealed(key: bytes, nonce: bytes, associated: bytes, text: bytes) -> bytes:
    """Return AES-256-GCM of `text` with its tag. openssl's command has the block cipher and its counter mode only, so
    the tag's field arithmetic is here, as NIST SP 800-38D has it.
    """
    assert (len(key), len(nonce)) == (32, 12)
    counter = ["-K", key.hex(), "-iv", nonce.hex() + "00000002"]
    encrypted = openssl("enc", "-aes-256-ctr", *counter, given=text)
    hash_key, mask = (
        int.from_bytes(openssl("enc", "-aes-256-ecb", "-nopad", "-K", key.hex(), given=block))
        for block in (bytes(16), nonce + b"\0\0\0\1")
    )
    lengths = (8 * len(associated)).to_bytes(8) + (8 * len(encrypted)).to_bytes(8)
    total = 0
    for start in (*_blocks(associated), *_blocks(encrypted), lengths):
        total = _times(total ^ int.from_bytes(start), hash_key)
    return encrypted + (total ^ mask).to_bytes(16)


def _blocks(text: bytes) -> list[bytes]:
    return [text[start : start + 16].ljust(16, b"\0") for start in range(0, len(text), 16)]


def _times(one: int, other: int) -> int:
    """Return the product in GF(2^128), with bits in GCM's order."""
    product = 0
    for place in range(127, -1, -1):
        if one >> place & 1:
            product ^= other
        other = other >> 1 ^ (0xE1 << 120 if other & 1 else 0)
    return product
