"""A bundle: a Debian package with a manifest that says what it is, signed with Ed25519.

One uncompressed tar of three files in this order: manifest.json, manifest.sig (64 bytes over a fixed prefix and the
manifest's exact bytes), package.deb. Nothing of the manifest is believed, and nothing of the package is looked at,
before the signature is good; nothing of the package is used before its size and SHA-256 are those of the manifest.
"""

import base64
import binascii
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from cabinet.errors import CabinetError

FORMAT = 1
_SIGNED = b"cabinet update bundle 1\n"  # so that a signature made for something else is none here
_MANIFEST, _SIGNATURE, _PACKAGE = "manifest.json", "manifest.sig", "package.deb"
_LONGEST_MANIFEST = 4096
_CHUNK = 1 << 20


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the package is. `size` in bytes; `python` such as 3.11."""

    format: int
    version: str
    architecture: str
    python: str
    size: int
    sha256: str


class NotABundle(CabinetError):
    """A file that is no bundle, or that nobody trusted has signed."""


def keys_in(text: str, source: str) -> dict[str, VerifyKey]:
    """The public keys in a file of one a line: base64, then whose it is. Raises CabinetError naming the line."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split(None, 1)
        if not words:
            continue
        try:
            found[words[1].strip() if len(words) > 1 else words[0]] = VerifyKey(
                base64.b64decode(words[0], validate=True)
            )
        except (binascii.Error, ValueError, TypeError) as error:
            raise CabinetError(f"{source}: line {number} is no Ed25519 public key in base64") from error
    return found


def write(target: Path, package: Path, manifest: Manifest, key: SigningKey) -> None:
    """A bundle at `target` of the package that `manifest` describes."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"
    signature = key.sign(_SIGNED + encoded).signature
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in ((_MANIFEST, encoded), (_SIGNATURE, signature)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        member = tarfile.TarInfo(_PACKAGE)
        member.size = package.stat().st_size
        with package.open("rb") as file:
            tar.addfile(member, file)


def read(bundle: Path, keys: Mapping[str, VerifyKey], package: Path) -> tuple[Manifest, str]:
    """Writes the bundle's package to `package` and returns its manifest, and the name of the key that signed it.

    Raises NotABundle, and then there is no file at `package`.
    """
    try:
        with tarfile.open(bundle, "r:") as tar:
            encoded = _member(tar, _MANIFEST, _LONGEST_MANIFEST).read()
            signature = _member(tar, _SIGNATURE, 64).read()
            signer = _signer(keys, encoded, signature, bundle)
            manifest = msgspec.json.decode(encoded, type=Manifest)
            if manifest.format != FORMAT:
                raise NotABundle(f"{bundle}: is of format {manifest.format}, this version knows {FORMAT}")
            _copy(_member(tar, _PACKAGE, manifest.size), manifest, package)
    except (tarfile.TarError, EOFError, KeyError) as error:
        raise NotABundle(f"{bundle}: is no bundle: {error}") from error
    except msgspec.MsgspecError as error:
        raise NotABundle(f"{bundle}: its manifest is not one: {error}") from error
    except OSError as error:
        raise NotABundle(f"{bundle}: {error.strerror or error}") from error
    return manifest, signer


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signer(keys: Mapping[str, VerifyKey], encoded: bytes, signature: bytes, bundle: Path) -> str:
    for name, key in keys.items():
        try:
            key.verify(_SIGNED + encoded, signature)
        except (BadSignatureError, ValueError):
            continue
        return name
    known = "none of the keys in /etc/cabinet/update-keys" if keys else "/etc/cabinet/update-keys has no key, so nobody"
    raise NotABundle(f"{bundle}: {known} has signed it")


def _member(tar: tarfile.TarFile, name: str, longest: int) -> IO[bytes]:
    """The next member of the file, which must be that one: there is one way to read a bundle."""
    member = tar.next()
    if member is None or member.name != name or not member.isreg():
        raise NotABundle(f"{tar.name!s}: is no bundle: {name} is not where it belongs")
    if member.size > longest:
        raise NotABundle(f"{tar.name!s}: {name} is longer than it may be")
    file = tar.extractfile(member)
    assert file is not None  # of a regular file
    return file


def _copy(source: IO[bytes], manifest: Manifest, target: Path) -> None:
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("xb") as file:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if size != manifest.size or digest.hexdigest() != manifest.sha256:
            raise NotABundle("the package in it is not the one that was signed")
    except BaseException:
        target.unlink(missing_ok=True)
        raise
