"""Gets the browser that the tests of the pages drive: Debian's chromium, and a font with Chinese characters.

Root on a machine with apt-get has them installed; for anybody else one line says what to install, and the tests that
need a browser are skipped and say so. Standard library only.
"""

import shutil
import subprocess

from tools import packages

PACKAGES = ("chromium", "fonts-noto-cjk", "fontconfig")


def main() -> None:
    packages.provide(why_missing(), PACKAGES, "browser")


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
    main()
