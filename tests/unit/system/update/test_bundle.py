"""Bundles: what was signed comes out, and nothing else ever does."""

import base64
import io
import os
import tarfile
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cabinet.errors import CabinetError
from cabinet.system.update import bundle
from cabinet.system.update.bundle import Manifest, NotABundle
from cabinet_testing.fake_computer import KEYS, OURS, THEIRS


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "cabinet.deb"
    package.write_bytes(b"the package" * 1000)
    return package


def manifest_of(package: Path) -> Manifest:
    return Manifest(
        format=1, version="0.2.0", architecture="arm64", python="3.11",
        size=package.stat().st_size, sha256=bundle.sha256_of(package),
    )  # fmt: skip


def made(package: Path, key: SigningKey = OURS) -> Path:
    target = package.with_suffix(".bundle")
    bundle.write(target, package, manifest_of(package), key)
    return target


def repacked(source: Path, change) -> Path:
    """The bundle with its members as `change` leaves them: a list of name and bytes."""
    with tarfile.open(source) as tar:
        members = [(member.name, file.read()) for member in tar if (file := tar.extractfile(member)) is not None]
    target = source.with_suffix(".changed")
    with tarfile.open(target, "w") as tar:
        for name, data in change(members):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target


def test_signed_package_comes_out_as_it_went_in(package, tmp_path):
    out = tmp_path / "out.deb"
    assert bundle.read(made(package), KEYS, out) == bundle.Sealed(manifest_of(package), "maker")
    assert out.read_bytes() == package.read_bytes()


CHANGES = {
    "a byte of the package": lambda m: [*m[:2], (m[2][0], b"T" + m[2][1][1:])],
    "a longer package": lambda m: [*m[:2], (m[2][0], m[2][1] + b"!")],
    "a shorter package": lambda m: [*m[:2], (m[2][0], m[2][1][:-1])],
    "another version": lambda m: [(m[0][0], m[0][1].replace(b"0.2.0", b"0.9.0")), *m[1:]],
    "no signature": lambda m: [m[0], m[2]],
    "an empty signature": lambda m: [m[0], (m[1][0], b""), m[2]],
    "another order": lambda m: [m[1], m[0], m[2]],
    "no package": lambda m: m[:2],
    "nothing": lambda m: [],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_bundle_is_none_and_leaves_nothing(change, package, tmp_path):
    out = tmp_path / "out.deb"
    with pytest.raises(NotABundle):
        bundle.read(repacked(made(package), change), KEYS, out)
    assert not out.exists()


def test_bundle_of_somebody_else_is_none(package, tmp_path):
    with pytest.raises(NotABundle, match="none of the keys"):
        bundle.read(made(package, THEIRS), KEYS, tmp_path / "out.deb")


def test_cabinet_without_keys_installs_nothing(package, tmp_path):
    with pytest.raises(NotABundle, match="has no key"):
        bundle.read(made(package), {}, tmp_path / "out.deb")


def test_signature_of_the_bare_manifest_is_none(package, tmp_path):
    """A key that signs other things too cannot be made to sign a bundle unawares."""

    def sign_bare(members):
        return [members[0], (members[1][0], OURS.sign(members[0][1]).signature), members[2]]

    with pytest.raises(NotABundle, match="none of the keys"):
        bundle.read(repacked(made(package), sign_bare), KEYS, tmp_path / "out.deb")


def test_reason_is_a_code_for_who_translates_it(package, tmp_path):
    for change, wrong in ((CHANGES["a byte of the package"], "changed"), (CHANGES["nothing"], "no_bundle")):
        with pytest.raises(NotABundle) as raised:
            bundle.read(repacked(made(package), change), KEYS, tmp_path / "out.deb")
        assert raised.value.wrong == wrong


def test_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.bundle")
    with pytest.raises(NotABundle, match="is no file"):
        bundle.read(tmp_path / "x.bundle", KEYS, tmp_path / "out.deb")


def test_link_to_a_bundle_is_one_to_who_names_it(package, tmp_path):
    (tmp_path / "newest.bundle").symlink_to(made(package))
    assert bundle.read(tmp_path / "newest.bundle", KEYS, tmp_path / "out.deb").signer == "maker"


def test_package_is_read_a_piece_at_a_time(package, monkeypatch):
    monkeypatch.setattr(bundle, "_CHUNK", 4000)
    kept: list[bytes] = []
    with bundle.opened(made(package)) as file:
        steps = list(bundle.through(file, bundle.sealed(file, KEYS).manifest, kept.append))
    assert steps == [4000, 8000, 11000]
    assert b"".join(kept) == package.read_bytes()


def test_manifest_is_not_read_beyond_its_longest(package, tmp_path):
    """The length is checked before the signature: this one is even signed."""

    def lengthen(members):
        longer = members[0][1] + b" " * 5000
        return [(members[0][0], longer), (members[1][0], OURS.sign(bundle._SIGNED + longer).signature), members[2]]

    with pytest.raises(NotABundle, match=r"manifest\.json is longer than it may be"):
        bundle.read(repacked(made(package), lengthen), KEYS, tmp_path / "out.deb")


def test_rubbish_is_no_bundle(tmp_path):
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(b"\xa5" * 2048)
    with pytest.raises(NotABundle):
        bundle.read(rubbish, KEYS, tmp_path / "out.deb")


def test_keys_are_read_with_their_names():
    public = base64.b64encode(bytes(OURS.verify_key)).decode()
    assert bundle.keys_in(f"# who\n\n{public} the maker\n", "update-keys") == {OURS.verify_key: "the maker"}


@pytest.mark.parametrize("key", [OURS, THEIRS])
def test_both_keys_of_one_maker_are_trusted(package, tmp_path, key):
    """A maker whose key changes has two for a while, under one name."""
    lines = [f"{base64.b64encode(bytes(each.verify_key)).decode()} maker\n" for each in (OURS, THEIRS)]
    keys = bundle.keys_in("".join(lines), "update-keys")
    assert bundle.read(made(package, key), keys, tmp_path / "out.deb").signer == "maker"


@pytest.mark.parametrize("line", ["nonsense", "AAAA", "é"])
def test_key_that_is_none_is_named_by_its_line(line):
    with pytest.raises(CabinetError, match="update-keys: line 2"):
        bundle.keys_in(f"# who\n{line}\n", "update-keys")
