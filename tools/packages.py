"""Installation of the programs for the tests with apt-get. Standard library only."""

import os
import shutil
import subprocess
import sys

MAX_STEP_S = 600


def provide(missing: str | None, packages: tuple[str, ...], where: str) -> None:
    """Install `packages` if `missing` is not None. If not permitted or not possible, print one line."""
    if missing is None:
        return
    if not may_install():
        print(f"{missing}: the tests in a {where} are skipped; apt install {' '.join(packages)}", file=sys.stderr)
        return
    print(f"installing {', '.join(packages)} for the tests in a {where} (once)")
    if problem := install(packages):
        print(f"{missing}, and apt-get cannot install it: {problem}", file=sys.stderr)


def may_install() -> bool:
    """Return whether this is root on a machine with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: tuple[str, ...]) -> str:
    """Install with apt-get. Return the error text, "" if it succeeded."""
    wait = "DPkg::Lock::Timeout=300"  # another apt-get may be running
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        try:
            done = subprocess.run(
                ["apt-get", "-qq", "-o", wait, *words],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=MAX_STEP_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            return done.stderr.strip().replace("\n", " / ")
    return ""
