"""Gets the terminal programs that the tests of the console drive: tmux and picocom.

Root on a machine with apt-get has them installed; for anybody else one line says what to install, and the tests that
need them are skipped and say so. Standard library only.
"""

import shutil
import sys

import packages

PACKAGES = ("tmux", "picocom")


def main() -> int:
    missing = why_missing()
    if missing is None:
        return 0
    if not packages.may_install():
        print(f"{missing}: the tests in a terminal are skipped; apt install {' '.join(PACKAGES)}", file=sys.stderr)
        return 0
    print(f"installing {', '.join(PACKAGES)} for the tests in a terminal (once)")
    if problem := packages.install(PACKAGES):
        print(f"{missing}, and apt-get cannot install it: {problem}", file=sys.stderr)
    return 0


def why_missing() -> str | None:
    """What such a test lacks on this machine; None where nothing."""
    lacking = [name for name in PACKAGES if shutil.which(name) is None]
    return f"there is no {' and no '.join(lacking)}" if lacking else None


if __name__ == "__main__":
    sys.exit(main())
