"""Disable each protection and each witness in turn: a test must fail, or its loss would go undetected."""

import argparse
import os
import re
import subprocess
import sys
import time

from cabinet.protections.table import CABINET_PROTECTIONS, PROTECTIONS
from campaigns.disable import WITNESSES
from campaigns.runner import commit, duration, machine

TESTS: tuple[str, ...] = (
    "tests/unit/test_safety.py",
    "tests/unit/protections",
    "tests/unit/guard/test_cabinet_faults.py",
)
PROTECTION_NAMES = [kind.fault.value for kind in (*PROTECTIONS, *CABINET_PROTECTIONS)]
NAMES = [*PROTECTION_NAMES, *WITNESSES]
_FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)


def killed_by(name: str) -> str | None:
    """Return the first test that fails without it; None if all pass. Raises RuntimeError if the tests do not run."""
    variable, tests = "DISABLED_PROTECTION", TESTS
    if name in WITNESSES:
        variable, tests = "DISABLED_WITNESS", WITNESSES[name].tests
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "campaigns.disable", "-p", "no:cacheprovider", *tests]
    ran = subprocess.run(
        command, env=os.environ | {variable: name}, capture_output=True, text=True, timeout=900, check=False
    )
    if ran.returncode == 0:
        return None
    failed = _FAILED.search(ran.stdout)
    if failed is None:
        raise RuntimeError(f"{name}: the tests did not run: {(ran.stdout + ran.stderr)[-500:]}")
    return failed[1].rpartition("/")[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m campaigns.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help="what to take away (default: each)")
    names = parser.parse_args().names
    began = time.monotonic()
    unnoticed = 0
    print(f"{machine()}, commit {commit()}\n\n| taken away | the first test that fails |\n|---|---|")
    for name in names:
        test = killed_by(name)
        unnoticed += test is None
        print(f"| {name} | {test or '**none**'} |", flush=True)
    print(f"\n{len(names)} taken away, {unnoticed} not noticed, {duration(time.monotonic() - began)}")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    raise SystemExit(main())
