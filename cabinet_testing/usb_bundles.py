"""Update bundles on the USB drive of a fake computer, and the steward's inspection of them."""

from cabinet.system.steward import protocol
from cabinet.system.steward.protocol import (
    BundleFound,
    InspectionProgress,
    RequestDone,
)
from cabinet.system.update import bundle
from cabinet.system.update.bundle import Manifest
from cabinet.system.update.trial import UpdatePhase, UpdateRecord
from cabinet_testing.fake_computer import OURS

PACKAGE = b"the package" * 1000


LAST = UpdateRecord(
    old="0.1.0", new="0.1.5", phase=UpdatePhase.GONE_BACK, boot_id="b", schema=12, why="self-test: it is broken"
)


def put(computer, name="a.bundle", key=OURS, **about):
    """A bundle on the stick. Returns where, and its manifest."""
    package = computer.stick.with_name("package.deb")
    package.write_bytes(PACKAGE)
    facts = {"version": "0.2.0", "architecture": "arm64", "python": "3.11", "size": len(PACKAGE),
             "sha256": bundle.sha256_of(package), "format": 1, **about}  # fmt: skip
    manifest = Manifest(**facts)
    bundle.write(computer.stick / name, package, manifest, key)
    return computer.stick / name, manifest


def inspected(computer):
    """The answers of one inspection as they come over the socket: each within one frame."""
    for answer in computer.steward.inspect():
        frame = protocol.encode(answer)
        assert len(frame) <= protocol.MAX_FRAME
        yield protocol.decode_answer(frame)


def look(computer):
    """All answers of one inspection to its end, but how far it is."""
    *found, last = inspected(computer)
    assert last == RequestDone()
    return [each for each in found if not isinstance(each, InspectionProgress)]


def bundles(computer):
    return [each for each in look(computer) if isinstance(each, BundleFound)]


def everything_on(computer):
    """Every file under the test's folder with its content, but for where the stick is mounted."""
    return {
        path: path.read_bytes() for path in computer.stick.parent.rglob("*") if path.is_file() and not path.is_fifo()
    }
