"""Gets the terminal programs that the tests of the console drive: tmux and picocom.

Root on a machine with apt-get has them installed; for anybody else one line says what to install, and the tests that
need them are skipped and say so. Standard library only.
"""

import shutil

from tools import packages

PACKAGES = ("tmux", "picocom")


def main() -> None:
    packages.provide(why_missing(), PACKAGES, "terminal")


def why_missing() -> str | None:
    """What such a test lacks on this machine; None where nothing."""
    lacking = [name for name in PACKAGES if shutil.which(name) is None]
    return f"there is no {' and no '.join(lacking)}" if lacking else None


if __name__ == "__main__":
    main()
