"""A file with a secret is its owner's alone."""

from pathlib import Path

import pytest

from cabinet.errors import CabinetError
from cabinet.system.secret_files import check_private


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_its_owners_file_passes(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "key"
    secret.touch(mode)
    check_private(secret)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620])
def test_what_others_may_read_or_change_is_one_line_that_says_what_to_do(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "key"
    secret.touch()
    secret.chmod(mode)
    with pytest.raises(CabinetError) as caught:
        check_private(secret)
    assert str(caught.value) == f"{secret}: holds secrets and others may read it (mode {mode:04o}): chmod 600 {secret}"


def test_a_file_that_is_not_there_yet_holds_no_secret(tmp_path: Path) -> None:
    check_private(tmp_path / "key")
