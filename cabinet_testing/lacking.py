"""Needs of a test that this machine may lack: PostgreSQL, a broker, a browser."""

import os

import pytest


def needs(lacking: str | None) -> None:
    """Skip the test if something is lacking; on a build machine (CI is set) fail, because nothing is skipped there."""
    if not lacking:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{lacking}, and on a build machine nothing is skipped", pytrace=False)
    pytest.skip(lacking)
