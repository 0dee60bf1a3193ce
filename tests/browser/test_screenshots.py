"""The pictures of the pages are made by a command of their own, not by pytest."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_pictures_are_made_without_pytest():
    command = [sys.executable, "-m", "cabinet_testing.screenshots", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
