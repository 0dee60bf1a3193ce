"""Gets the browser that the tests of the pages drive: Debian's chromium, and a font with Chinese characters.

Root on a machine with apt-get has them installed; for anybody else one line says what to install, and the tests that
need a browser are skipped and say so. Standard library only.
"""

import shutil
import subprocess
import sys

import packages

PACKAGES = ("chromium", "fonts-noto-cjk", "fontconfig")


def main() -> int:
    missing = why_missing()
    if missing is None:
        return 0
    if not packages.may_install():
        print(f"{missing}: the tests in a browser are skipped; apt install {' '.join(PACKAGES)}", file=sys.stderr)
        return 0
    print(f"installing {', '.join(PACKAGES)} for the tests in a browser (once)")
    if problem := packages.install(PACKAGES):
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


if __name__ == "__main__":
    sys.exit(main())
