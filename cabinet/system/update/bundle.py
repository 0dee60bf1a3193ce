"""Bundle: a Debian package with a manifest that describes it, signed with Ed25519.

One uncompressed tar of three files in this order: manifest.json, manifest.sig (64 bytes over a fixed prefix and the
manifest's exact bytes), package.deb. The manifest is not trusted, and the package is not read, before the signature is
verified; the package is not used before its size and SHA-256 match the manifest.
"""

import base64
import binascii
import contextlib
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Literal

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from cabinet.errors import CabinetError

FORMAT = 1
_SIGNED = b"cabinet update bundle 1\n"  # a signature made for another purpose is not valid here
_MANIFEST, _SIGNATURE, _PACKAGE = "manifest.json", "manifest.sig", "package.deb"
_MAX_MANIFEST = 4096
_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_NOT_THE_ONE = "the package in it is not the one that was signed"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Description of the package. `size` in bytes; `python` such as "3.11 3.13": the versions it is for."""

    format: int
    version: str
    architecture: str
    python: str
    size: int
    sha256: str


Wrong = Literal["not_a_file", "unreadable", "no_bundle", "unsigned", "no_keys", "format", "cut_short", "changed"]


class NotABundle(CabinetError):
    """A file that is not a bundle, or that no trusted key has signed; `wrong` is the reason, to be translated."""

    def __init__(self, bundle: str, wrong: Wrong, problem: str) -> None:
        super().__init__(f"{bundle}: {problem}")
        self.wrong: Wrong = wrong


class Sealed(msgspec.Struct, frozen=True):
    """Manifest of a bundle with a good signature, and the owner of the key; the package is not verified yet."""

    manifest: Manifest
    signer: str


Keys = Mapping[VerifyKey, str]  # key to owner; an owner may have two while a new key replaces an old one


def keys_in(text: str, source: str) -> dict[VerifyKey, str]:
    """Return the public keys in a file, one per line: base64, then the owner. Raises CabinetError naming the line."""
    found: dict[VerifyKey, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split(None, 1)
        if not words:
            continue
        try:
            key = VerifyKey(base64.b64decode(words[0], validate=True))
        except (binascii.Error, ValueError, TypeError) as error:
            raise CabinetError(f"{source}: line {number} is no Ed25519 public key in base64") from error
        found[key] = words[1].strip() if len(words) > 1 else words[0]
    return found


def write(target: Path, package: Path, manifest: Manifest, key: SigningKey) -> None:
    """Write a bundle to `target`, with the package that `manifest` describes."""
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


def read(bundle: Path, keys: Keys, package: Path) -> Sealed:
    """Write the bundle's package to `package`. Raises NotABundle; then there is no file at `package`."""
    with opened(bundle) as file:
        found = sealed(file, keys)
        try:
            with package.open("xb") as target:
                for _ in through(file, found.manifest, target.write):
                    pass
                target.flush()
                os.fsync(target.fileno())
        except BaseException:
            package.unlink(missing_ok=True)
            raise
    return found


@contextlib.contextmanager
def opened(bundle: Path, flags: int = 0) -> Iterator[IO[bytes]]:
    """Open a bundle for reading; `flags` such as os.O_NOFOLLOW. Raises NotABundle, also for later read errors.

    Only a regular file is accepted: the wait for a named pipe would never end.
    """
    try:
        with open(bundle, "rb", opener=lambda path, mode: os.open(path, mode | os.O_NONBLOCK | flags)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotABundle(file.name, "not_a_file", "is no file")
            yield file
    except OSError as error:
        raise NotABundle(str(bundle), "unreadable", error.strerror or str(error)) from error


def sealed(file: IO[bytes], keys: Keys) -> Sealed:
    """Read the manifest of an opened bundle, the first step; accept it only if a key has signed it.

    Raises NotABundle.
    """
    encoded = _whole_member(file, _MANIFEST, _MAX_MANIFEST)
    signer = _signer(keys, encoded, _whole_member(file, _SIGNATURE, 64), file.name)
    try:
        manifest = msgspec.json.decode(encoded, type=Manifest)
    except msgspec.MsgspecError as error:
        raise NotABundle(file.name, "no_bundle", f"its manifest is not one: {error}") from error
    if manifest.format != FORMAT:
        raise NotABundle(file.name, "format", f"is of format {manifest.format}, this version knows {FORMAT}")
    return Sealed(manifest, signer)


def through(file: IO[bytes], manifest: Manifest, keep: Callable[[bytes], object] = lambda chunk: None) -> Iterator[int]:
    """Read the package, the second step, and pass it to `keep`; yield the number of bytes read so far.

    Raises NotABundle if it is not the package of the manifest; that may be as late as at its end.
    """
    size = _header(file, _PACKAGE)
    if size != manifest.size:
        raise NotABundle(file.name, "changed", _NOT_THE_ONE)
    there = os.fstat(file.fileno()).st_size - file.tell()
    if there < size:
        raise _cut_short(file)
    digest, done = hashlib.sha256(), 0
    while chunk := file.read(min(_CHUNK, size - done)):
        digest.update(chunk)
        keep(chunk)
        done += len(chunk)
        yield done
    if done != size:
        raise _cut_short(file)
    if digest.hexdigest() != manifest.sha256:
        raise NotABundle(file.name, "changed", _NOT_THE_ONE)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signer(keys: Keys, encoded: bytes, signature: bytes, bundle: str) -> str:
    for key, name in keys.items():
        try:
            key.verify(_SIGNED + encoded, signature)
        except (BadSignatureError, ValueError):
            continue
        return name
    if not keys:
        raise NotABundle(bundle, "no_keys", "/etc/cabinet/update-keys has no key, so nobody has signed it")
    raise NotABundle(bundle, "unsigned", "none of the keys in /etc/cabinet/update-keys has signed it")


def _whole_member(file: IO[bytes], name: str, longest: int) -> bytes:
    """Return the contents of the next member; the file is then at the member after it."""
    size = _header(file, name)
    if size > longest:
        raise NotABundle(file.name, "no_bundle", f"{name} is longer than it may be")
    data = file.read(size + -size % _BLOCK)
    if len(data) < size:
        raise _cut_short(file)
    return data[:size]


def _header(file: IO[bytes], name: str) -> int:
    """Return the size of the next member, which must be `name`: there is only one way to read a bundle.

    Reads block by block, because a tar may hold headers of any length, and no trusted key has signed those.
    """
    block = file.read(_BLOCK)
    if len(block) < _BLOCK and (block or name != _MANIFEST):
        raise _cut_short(file)
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.TarError as error:
        raise NotABundle(file.name, "no_bundle", f"is no bundle: {error}") from error
    if member.name != name or member.type != tarfile.REGTYPE or member.size < 0:
        raise NotABundle(file.name, "no_bundle", f"is no bundle: {name} is not where it belongs")
    return member.size


def _cut_short(file: IO[bytes]) -> NotABundle:
    return NotABundle(file.name, "cut_short", "ends too early: copy it once more")
