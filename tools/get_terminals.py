"""Install the terminal programs for the tests of the console: tmux and picocom.

It installs them if run as root on a machine with apt-get. Otherwise it prints one line with the packages to install,
and the tests that need them are skipped with a message. Standard library only.
"""

import shutil

from tools import packages

PACKAGES = ("tmux", "picocom")


def main() -> None:
    packages.provide(why_missing(), PACKAGES, "terminal")


def why_missing() -> str | None:
    """Return the programs that this machine lacks; None if it lacks none."""
    lacking = [name for name in PACKAGES if shutil.which(name) is None]
    return f"there is no {' and no '.join(lacking)}" if lacking else None


if __name__ == "__main__":
    main()
