"""Update bundles on the USB drive of a fake computer, and the steward's inspection of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from cabinet.system.steward import protocol
from cabinet.system.steward.protocol import (
    BundleFound,
    InspectionProgress,
    RequestDone,
)
from cabinet.system.update import bundle
from cabinet.system.update.bundle import Manifest
from cabinet.system.update.trial import UpdatePhase, UpdateRecord
from cabinet_testing.fake_computer import OURS, FakeComputer

PACKAGE = b"the package" * 1000


LAST = UpdateRecord(
    old="0.1.0", new="0.1.5", phase=UpdatePhase.GONE_BACK, boot_id="b", schema=12, why="self-test: it is broken"
)


def put(computer: FakeComputer, name: str = "a.bundle", key: SigningKey = OURS, **about: Any) -> tuple[Path, Manifest]:
    """Write a bundle to the drive. Return its path and its manifest."""
    package = computer.stick.with_name("package.deb")
    package.write_bytes(PACKAGE)
    facts: dict[str, Any] = {"version": "0.2.0", "architecture": "arm64", "python": "3.11", "size": len(PACKAGE),
             "sha256": bundle.sha256_of(package), "format": 1, **about}  # fmt: skip
    manifest = Manifest(**facts)
    bundle.write(computer.stick / name, package, manifest, key)
    return computer.stick / name, manifest


def inspected(computer: FakeComputer) -> Iterator[Any]:
    """Yield the answers of one inspection, each encoded and decoded as one frame."""
    for answer in computer.steward.inspect():
        frame = protocol.encode(answer)
        assert len(frame) <= protocol.MAX_FRAME
        yield protocol.decode_answer(frame)


def look(computer: FakeComputer) -> list[Any]:
    """Return all answers of one inspection, except its progress."""
    *found, last = inspected(computer)
    assert last == RequestDone()
    return [each for each in found if not isinstance(each, InspectionProgress)]


def bundles(computer: FakeComputer) -> list[Any]:
    return [each for each in look(computer) if isinstance(each, BundleFound)]


def everything_on(computer: FakeComputer) -> dict[Path, bytes]:
    """Return every file in the test's folder with its content, except the mount point."""
    return {
        path: path.read_bytes() for path in computer.stick.parent.rglob("*") if path.is_file() and not path.is_fifo()
    }
