"""Imports at the start of a process: what a request needs much later, or never, is imported by that request."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", ["console", "steward"])
def test_what_a_pdf_or_the_service_needs_is_not_loaded_at_the_start_of(command):
    code = f"import sys, cabinet.commands.{command}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {"fontTools", "asyncio", "urllib.request"} & set(done.stdout.split()) == set()
