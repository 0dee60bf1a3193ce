"""The status that the service reports to the console."""

from pathlib import Path

import pytest

from cabinet.clock import NS
from cabinet.link import service_status
from cabinet.link.service_status import GONE, ServiceStatus


@pytest.mark.parametrize(
    ("age_s", "hindrance", "found"),
    [
        (0, None, None),
        (29, "storage_full", "storage_full"),
        (31, "storage_full", GONE),
        (31, None, GONE),
        (-1, None, GONE),  # of another boot
    ],
)
def test_old_word_is_none(tmp_path: Path, age_s: float, hindrance: str | None, found: str | None) -> None:
    path = service_status.path_in(tmp_path)
    service_status.write(path, ServiceStatus(100 * NS, 10.0, hindrance))
    assert service_status.start_refusal(path, round((100 + age_s) * NS)) == found


@pytest.mark.parametrize("rubbish", [None, b"", b"{", b'{"at_ns": "x"}', b"\xff"])
def test_without_a_word_the_service_is_gone(tmp_path: Path, rubbish: bytes | None) -> None:
    path = service_status.path_in(tmp_path)
    if rubbish is not None:
        path.parent.mkdir()
        path.write_bytes(rubbish)
    assert service_status.start_refusal(path, NS) == GONE


def test_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    path = service_status.path_in(tmp_path / "nowhere")
    service_status.write(path, ServiceStatus(0, 10.0, None))
    service_status.remove(path)
    assert service_status.start_refusal(path, 0) == GONE
