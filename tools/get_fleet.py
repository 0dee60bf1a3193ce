"""Install the servers for the tests and the demonstration of the fleet: PostgreSQL and mosquitto.

It installs them if run as root on a machine with apt-get. Otherwise it prints one line with the packages to install,
and the tests that need them are skipped with a message. Standard library only.
"""

import shutil
from pathlib import Path

from tools import packages

PACKAGES = ("postgresql", "mosquitto", "openssl", "iproute2")


def main() -> None:
    packages.provide(why_missing(), PACKAGES, "fleet")


def why_missing() -> str | None:
    """Return the programs that this machine lacks; None if it lacks none."""
    lacking = [name for name in ("mosquitto", "openssl", "ip") if shutil.which(name, path=_PATH) is None]
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        lacking.append("PostgreSQL")
    return f"there is no {' and no '.join(lacking)}" if lacking else None


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

if __name__ == "__main__":
    main()
