"""Make a signed bundle of a Debian package for `cabinet update`, or the signing key.

    python tools/make_bundle.py --new-key maker.key                              once; keep it away from the cabinets
    python tools/make_bundle.py --key maker.key dist/cabinet_0.2.0_arm64.deb     a bundle beside the package

Both print the public key, which each cabinet has in /etc/cabinet/update-keys.
"""

import argparse
import base64
import os
import re
import subprocess
import sys
from pathlib import Path

from nacl.signing import SigningKey

from cabinet.errors import CabinetError
from cabinet.system.secret_files import check_private
from cabinet.system.update import bundle


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a signed bundle for `cabinet update`.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--new-key", type=Path, metavar="FILE", help="make a key")
    what.add_argument("--key", type=Path, metavar="FILE", help="sign with this key")
    parser.add_argument("--python", help="for this one only, such as 3.11: version 0.1 of a cabinet reads no list")
    parser.add_argument("package", type=Path, nargs="?", metavar="DEB")
    args = parser.parse_args()
    try:
        key = new_key(args.new_key) if args.new_key else read_key(args.key)
        print(f"public key: {base64.b64encode(bytes(key.verify_key)).decode()}")
        if args.package is not None:
            print(make(args.package, key, args.python))
    except (CabinetError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def new_key(path: Path) -> SigningKey:
    key = SigningKey.generate()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(base64.b64encode(bytes(key)) + b"\n")
    return key


def read_key(path: Path) -> SigningKey:
    check_private(path)
    return SigningKey(base64.b64decode(path.read_bytes()))


def make(package: Path, key: SigningKey, only: str | None = None) -> Path:
    """Write the bundle beside the package and return its file. `only`: one of the versions of Python that it is for."""
    fields = {}
    for name in ("Version", "Architecture", "Depends"):
        done = subprocess.run(["dpkg-deb", "--field", str(package), name], capture_output=True, text=True, check=True)
        fields[name] = done.stdout.strip()
    pythons = pythons_in(fields["Depends"])
    if not pythons:
        raise CabinetError(f"{package}: does not say which Python it is for; was it made by tools/build_deb.py?")
    manifest = bundle.Manifest(
        format=bundle.FORMAT,
        version=fields["Version"],
        architecture=fields["Architecture"],
        python=only or " ".join(pythons),
        size=package.stat().st_size,
        sha256=bundle.sha256_of(package),
    )
    target = package.with_name(f"cabinet-{manifest.version}-{manifest.architecture}.bundle")
    bundle.write(target, package, manifest, key)
    return target


def pythons_in(depends: str) -> list[str]:
    """Return the versions of Python in a package's dependencies, as tools/build_deb.py writes them. Pure."""
    return re.findall(r"python3 \(>= (\d+\.\d+)~\)", depends)


if __name__ == "__main__":
    sys.exit(main())
