"""Has apt-get install what the tests drive. Standard library only."""

import os
import shutil
import subprocess

LONGEST_STEP_S = 600


def may_install() -> bool:
    """Whether this is root on a machine with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: tuple[str, ...]) -> str:
    """What went wrong, "" where nothing did."""
    wait = "DPkg::Lock::Timeout=300"  # another apt-get may be at work
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        try:
            done = subprocess.run(
                ["apt-get", "-qq", "-o", wait, *words],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LONGEST_STEP_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            return done.stderr.strip().replace("\n", " / ")
    return ""
