"""Inspection of the bundles on a stick: reports every useful fact, trusts only signed data, changes nothing."""

import os
import socket

import msgspec
import pytest

from cabinet.clock import NS
from cabinet.errors import CabinetError
from cabinet.system.steward import updates
from cabinet.system.steward.protocol import (
    BundleFound,
    DriveFound,
    InspectionProgress,
    InstalledVersion,
    RequestDone,
)
from cabinet.system.steward.updates import MAX_BUNDLES, MAX_INSPECTION_NS
from cabinet.system.update import bundle
from cabinet.system.update.trial import TRIAL_S, UpdatePhase, UpdateRecord
from cabinet_testing.fake_computer import THEIRS, FakeComputer
from cabinet_testing.usb_bundles import LAST, PACKAGE, bundles, inspected, look, put


@pytest.fixture
def computer(tmp_path):
    return FakeComputer(tmp_path)


# --- what is told ----------------------------------------------------------------------------------------------------


def test_signed_bundle_is_told_with_its_version_and_who_signed_it(computer):
    _, manifest = put(computer)
    surveyed, stick, seen = look(computer)
    assert surveyed.computer.version == "0.1.0"
    assert stick == DriveFound("/dev/sda1", str(computer.stick), 1)
    assert seen == BundleFound("a.bundle", manifest, "maker", "newer")


@pytest.mark.parametrize(("version", "age"), [("0.2.0", "newer"), ("0.1.0", "same"), ("0.0.9", "older")])
def test_age_is_beside_the_version_that_is_installed(computer, version, age):
    put(computer, version=version)
    (seen,) = bundles(computer)
    assert seen.age == age


def test_without_a_stick_the_installed_version_and_the_last_update_are_told(computer):
    computer.mounts.write_text("/dev/mmcblk0p2 / ext4 rw 0 0\n")
    computer.records.folder.mkdir()
    computer.records.end(LAST)
    (surveyed,) = look(computer)
    assert (surveyed.computer.version, surveyed.last, surveyed.trial) == ("0.1.0", LAST, None)
    assert surveyed.problems == []


def test_trial_under_way_is_told_with_the_time_that_is_left(computer):
    computer.records.folder.mkdir()
    until_ns = computer.clock.monotonic_ns() + 100 * NS
    computer.records.save(
        UpdateRecord(old="0.0.9", new="0.1.0", phase=UpdatePhase.TRIAL, boot_id="this", schema=12, until_ns=until_ns)
    )
    computer.clock.advance_ns(30 * NS)
    surveyed = look(computer)[0]
    assert surveyed.left_s == 70
    assert surveyed.computer.on_trial == "0.1.0"


def test_trial_of_another_boot_or_of_an_older_watcher_has_no_end_that_is_known(computer):
    trial = UpdateRecord(
        old="0.0.9", new="0.1.0", phase=UpdatePhase.TRIAL, boot_id="this", schema=12, until_ns=TRIAL_S * NS
    )
    assert trial.left_s("this", 0) == TRIAL_S
    assert trial.left_s("another", 0) is None
    assert msgspec.structs.replace(trial, until_ns=None).left_s("this", 0) is None
    assert msgspec.structs.replace(trial, phase=UpdatePhase.GOING_BACK).left_s("this", 0) is None


def test_changed_files_of_what_is_installed_are_told(computer):
    computer.system.changed = ["/usr/lib/cabinet/x.py"]
    assert look(computer)[0].computer.changed_files == ["/usr/lib/cabinet/x.py"]


def test_ten_thousand_changed_files_fit_the_answer(computer):
    computer.system.changed = [f"/usr/lib/cabinet/{number}.py" for number in range(10_000)]
    assert look(computer)[0].computer.changed_files[0] == "/usr/lib/cabinet/0.py"


def test_tool_that_fails_costs_the_comparison_and_not_the_bundles(computer):
    _, manifest = put(computer)
    computer.system.fails = CabinetError("dpkg-query: no packages found matching cabinet")
    surveyed, _, seen = look(computer)
    assert surveyed.computer is None
    assert surveyed.problems == ["dpkg-query: no packages found matching cabinet"]
    assert seen == BundleFound("a.bundle", manifest, "maker", None)


# --- what is not believed --------------------------------------------------------------------------------------------


def test_bundle_that_nobody_trusted_has_signed_tells_nothing_of_itself(computer):
    put(computer, key=THEIRS, version="9.9.9")
    (seen,) = bundles(computer)
    assert (seen.wrong, seen.manifest, seen.signer, seen.age) == ("unsigned", None, "", None)
    assert "9.9.9" not in repr(seen)


def test_cabinet_without_keys_trusts_nobody(computer):
    put(computer)
    computer.keys.write_text("# none yet\n")
    (seen,) = bundles(computer)
    assert (seen.wrong, seen.manifest) == ("no_keys", None)
    computer.keys.unlink()
    surveyed, _, seen = look(computer)
    assert seen.wrong == "no_keys"
    assert "it says who may update this cabinet" in surveyed.problems[0]


def test_package_that_is_not_the_signed_one_is_told(computer):
    path, manifest = put(computer)
    content = bytearray(path.read_bytes())
    content[content.index(b"the package")] ^= 1
    path.write_bytes(content)
    (seen,) = bundles(computer)
    assert (seen.wrong, seen.manifest) == ("changed", manifest)


@pytest.mark.parametrize("left", [0, 100, 512, 700, 1024, 1600, 4000])
def test_bundle_that_was_cut_short_is_told_and_its_package_not_read(computer, left):
    path, _ = put(computer)
    os.truncate(path, left)
    (seen,) = bundles(computer)
    assert seen.wrong == ("no_bundle" if left == 0 else "cut_short")


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "socket"])
def test_what_is_no_file_is_not_opened(computer, kind):
    target, _ = put(computer, "elsewhere")
    path = computer.stick / "x.bundle"
    if kind == "fifo":
        os.mkfifo(path)  # opening it for reading would wait for a writer, without end
    elif kind == "link":
        path.symlink_to(target)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))
    (seen,) = bundles(computer)
    assert (seen.name, seen.wrong, seen.manifest) == ("x.bundle", "not_a_file", None)


@pytest.mark.parametrize("name", ["a\x1b[2Jb.bundle", "a\u202eb.bundle", "line\nbreak.bundle", "a" * 130 + ".bundle"])
def test_name_that_would_play_with_the_terminal_is_not_sent_there(computer, name):
    put(computer, name)
    (seen,) = bundles(computer)
    assert seen.wrong == "name"
    assert seen.name.isprintable()


def test_name_that_is_no_text_ends_nothing(computer):
    path, _ = put(computer)
    os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/\xff\xfe.bundle")
    (seen,) = bundles(computer)
    assert seen.wrong == "name"


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_header_of_any_length_is_not_read_before_a_signature(computer, monkeypatch):
    """A tar may say that eight gigabytes of names follow: nobody trusted has signed that."""
    head = bytearray(512)
    head[0:9] = b"././@Long"
    head[124:136] = b"77777777777\0"
    head[156:157] = b"L"
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    path = computer.stick / "x.bundle"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(8 << 30)  # takes no room: it is a hole
    assert [each.wrong for each in bundles(computer)] == ["no_bundle"]


def test_ten_gigabytes_that_nobody_signed_are_not_read(computer):
    path, _ = put(computer, key=THEIRS)
    os.truncate(path, 10 << 30)
    asked_before = computer.clock.monotonic_ns()
    assert [each.wrong for each in bundles(computer)] == ["unsigned"]
    assert computer.clock.monotonic_ns() == asked_before


def test_of_five_hundred_files_the_newest_are_looked_at_and_the_rest_counted(computer):
    for number in range(500):
        path = computer.stick / f"{number:03}.bundle"
        path.write_bytes(b"junk")
        os.utime(path, (number, number))
    found = look(computer)
    (stick,) = [each for each in found if isinstance(each, DriveFound)]
    assert (stick.bundles, stick.more) == (MAX_BUNDLES, 500 - MAX_BUNDLES)
    names = [each.name for each in found if isinstance(each, BundleFound)]
    assert names == [f"{number:03}.bundle" for number in range(499, 499 - MAX_BUNDLES, -1)]


def test_folder_without_end_is_not_read_to_its_end(computer, monkeypatch):
    monkeypatch.setattr(updates, "MAX_ENTRIES", 3)
    for number in range(10):
        (computer.stick / f"{number}.bundle").write_bytes(b"junk")
    assert len(bundles(computer)) == 3


def test_big_bundle_is_read_in_slices_and_says_how_far_it_is(computer, monkeypatch):
    put(computer)
    monkeypatch.setattr(bundle, "_CHUNK", 1000)
    monkeypatch.setattr(updates, "SLICE_NS", 0)  # every answer is one slice
    answers = list(inspected(computer))
    read = [(each.done, each.size) for each in answers if isinstance(each, InspectionProgress) and each.name]
    assert read == [(min(1000 * n, len(PACKAGE)), len(PACKAGE)) for n in range(1, 12)]
    assert InspectionProgress() in answers  # while the installed files are compared


def test_look_that_takes_too_long_says_of_each_bundle_that_it_was_not_read(computer):
    put(computer, "a.bundle")
    put(computer, "b.bundle")
    looking = inspected(computer)
    assert isinstance(next(looking), InstalledVersion)
    computer.clock.advance_ns(MAX_INSPECTION_NS)
    stick, *seen, last = looking
    assert isinstance(stick, DriveFound)
    assert [each.wrong for each in seen] == ["late", "late"]
    assert last == RequestDone()


def test_dying_card_does_not_hold_the_bundles_up(computer, monkeypatch):
    put(computer)
    monkeypatch.setattr(updates, "SLICE_NS", 0)
    computer.system.steps = 10**9
    looking = inspected(computer)
    assert next(looking) == InspectionProgress()
    computer.clock.advance_ns(MAX_INSPECTION_NS)
    surveyed = next(looking)
    assert surveyed.computer is None
    assert "takes too long" in surveyed.problems[0]
