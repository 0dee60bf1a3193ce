"""Run every test in two parts at once: the whole cabinets two at a time, the other tests with what is left.

A whole cabinet waits for real time during most of its test. The other tests have the lowest priority, so they use the
cores only while no cabinet needs them. Their output follows when both parts have ended, and is in build/tests.log.

    python tools/run_tests.py
"""

import os
import subprocess
import sys
import time
from pathlib import Path

OTHERS = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder", "-m", "not whole_cabinet")
WHOLE_CABINETS = ("-n", "2", "--dist", "loadfile", "tests/e2e", "tests/browser", "-m", "whole_cabinet")
LOWEST_PRIORITY = 19
LOG = Path("build/tests.log")


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def main() -> int:
    """Return 0 if both parts passed."""
    began_s = time.monotonic()
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("wb") as output:
        others = subprocess.Popen(
            pytest(*OTHERS),
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.nice(LOWEST_PRIORITY),  # this process has no threads
        )
        try:
            whole_code = subprocess.run(pytest(*WHOLE_CABINETS), check=False).returncode
            whole_s = time.monotonic() - began_s
            others_code = others.wait()
        finally:
            others.kill()
    sys.stdout.write(LOG.read_text(encoding="utf-8", errors="replace"))
    took_s = time.monotonic() - began_s
    print(f"whole cabinets: {whole_s:.0f} s, exit {whole_code}; with the others: {took_s:.0f} s, exit {others_code}")
    return whole_code or others_code


if __name__ == "__main__":
    raise SystemExit(main())
