"""Static files that a page loads: read once, compressed once, addressed by the hash of their content."""

import gzip
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

CONTENT_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}


class Asset(NamedTuple):
    body: bytes
    compressed: bytes
    content_type: str
    version: str


class Assets:
    """All files under `static/`, by relative path. If the bundle in `dist/` is missing, pages still work."""

    def __init__(self, *packages: str) -> None:
        """Read ours, and those of other packages."""
        self._assets: dict[str, Asset] = {}
        for package in ("cabinet.web", *packages):
            self._assets.update(_read(resources.files(package) / "static", ""))

    def __contains__(self, name: str) -> bool:
        return name in self._assets

    def __getitem__(self, name: str) -> Asset:
        """Return the file. Raises KeyError if there is no such file."""
        return self._assets[name]

    def url(self, name: str) -> str:
        """Return the file's address with the hash of its content: a browser may cache it for ever. Raises KeyError."""
        return f"/static/{name}?v={self._assets[name].version}"


def _read(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found.extend(_read(entry, f"{prefix}{entry.name}/"))
            continue
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix in CONTENT_TYPES:
            body = entry.read_bytes()
            version = hashlib.sha256(body).hexdigest()[:10]
            found.append((prefix + entry.name, Asset(body, gzip.compress(body, 9), CONTENT_TYPES[suffix], version)))
    return found
