"""Gets the browser that the tests of the pages drive: Debian's chromium, and a font with Chinese characters.

Root on a machine with apt-get has them installed; for anybody else one line says what to install, and the tests that
need a browser are skipped and say so. Standard library only.
"""

import os
import shutil
import subprocess
import sys

PACKAGES = ("chromium", "fonts-noto-cjk", "fontconfig")
LONGEST_STEP_S = 600


def main() -> int:
    missing = why_missing()
    if missing is None:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"{missing}: the tests in a browser are skipped; apt install {' '.join(PACKAGES)}", file=sys.stderr)
        return 0
    print(f"installing {', '.join(PACKAGES)} for the tests in a browser (once)")
    if problem := _install():
        print(f"{missing}, and apt-get cannot install it: {problem}", file=sys.stderr)
    return 0


def chromium() -> str | None:
    """Where it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def why_missing() -> str | None:
    """What a browser test lacks on this machine; None where nothing."""
    if chromium() is None:
        return "there is no chromium"
    listing = shutil.which("fc-list")
    if listing is None or not subprocess.run([listing, ":lang=zh"], capture_output=True, check=False).stdout:
        return "there is no font with Chinese characters"
    return None


def _install() -> str:
    """What went wrong, "" where nothing did."""
    wait = "DPkg::Lock::Timeout=300"  # another apt-get may be at work
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
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


if __name__ == "__main__":
    sys.exit(main())
