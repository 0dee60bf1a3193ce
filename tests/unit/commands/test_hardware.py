"""Source of bus and pins: lgpio is imported if it is installed, and leaves nothing behind."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from cabinet.commands import hardware

# As the library does on import: goes to $LG_WD, or stays, and opens a pipe there under a fixed name.
LIBRARY = """
import os
os.chdir(os.environ.get("LG_WD", "."))
os.mkfifo(".lgd-nfy0")
pipe = os.open(".lgd-nfy0", os.O_RDWR | os.O_NONBLOCK)
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "lgpio.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.delitem(sys.modules, "lgpio", raising=False)
    monkeypatch.setenv("LG_WD", "unset afterwards")
    monkeypatch.chdir(tmp_path)
    yield
    if "lgpio" in sys.modules:
        os.close(sys.modules["lgpio"].pipe)
        del sys.modules["lgpio"]


def no_room() -> str:
    raise FileNotFoundError("no usable temporary directory")


@pytest.mark.usefixtures("library")
def test_lgpio_opens_its_pipe_in_memory_though_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", no_room)
    run = tmp_path / "run"
    run.mkdir()
    hardware._import_lgpio(run)
    os.write(sys.modules["lgpio"].pipe, b"edge")
    assert os.read(sys.modules["lgpio"].pipe, 4) == b"edge"
    assert Path.cwd() == tmp_path
    assert list(run.iterdir()) == []


@pytest.mark.usefixtures("library")
def test_lgpio_is_imported_without_a_run_folder_too(tmp_path):
    hardware._import_lgpio(tmp_path / "missing")
    assert "lgpio" in sys.modules
    assert Path.cwd() == tmp_path


@pytest.mark.usefixtures("library")
def test_lgpio_that_cannot_be_imported_leaves_the_process_where_it_was(tmp_path):
    (tmp_path / "lib" / "lgpio.py").write_text("import os; os.chdir('/'); raise OSError('no chip')")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(OSError, match="no chip"):
        hardware._import_lgpio(run)
    assert Path.cwd() == tmp_path
    assert list(run.iterdir()) == []
