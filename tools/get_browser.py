"""Install the browser for the tests of the pages: Debian's chromium, and a font with Chinese characters.

It installs them if run as root on a machine with apt-get. Otherwise it prints one line with the packages to install,
and the tests that need a browser are skipped with a message. Standard library only.
"""

import shutil
import subprocess

from tools import packages

PACKAGES = ("chromium", "fonts-noto-cjk", "fontconfig")


def main() -> None:
    packages.provide(why_missing(), PACKAGES, "browser")


def chromium() -> str | None:
    """Return the path of chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def why_missing() -> str | None:
    """Return the requirement of a browser test that this machine lacks; None if it lacks none."""
    if chromium() is None:
        return "there is no chromium"
    listing = shutil.which("fc-list")
    if listing is None or not subprocess.run([listing, ":lang=zh"], capture_output=True, check=False).stdout:
        return "there is no font with Chinese characters"
    return None


if __name__ == "__main__":
    main()
