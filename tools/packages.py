"""Has apt-get install what the tests drive. Standard library only."""

import os
import shutil
import subprocess
import sys

LONGEST_STEP_S = 600


def provide(missing: str | None, packages: tuple[str, ...], where: str) -> None:
    """Install them where `missing` says what is lacking; whoever may not, or cannot, is told in a line."""
    if missing is None:
        return
    if not may_install():
        print(f"{missing}: the tests in a {where} are skipped; apt install {' '.join(packages)}", file=sys.stderr)
        return
    print(f"installing {', '.join(packages)} for the tests in a {where} (once)")
    if problem := install(packages):
        print(f"{missing}, and apt-get cannot install it: {problem}", file=sys.stderr)


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
