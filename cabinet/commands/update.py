"""`cabinet update`: install a signed bundle on trial, and see how the last one went."""

import argparse
import logging
import shutil
import subprocess
import time
from pathlib import Path

from cabinet.clock import SystemClock
from cabinet.commands.options import add_config
from cabinet.errors import CabinetError
from cabinet.update import bundle
from cabinet.update.computer import Computer
from cabinet.update.records import Records
from cabinet.update.trial import TRIAL_S, Asked, Phase, Trial, objections
from cabinet.update.trial import Computer as Found
from cabinet.update.watch import see_through

KEYS = Path("/etc/cabinet/update-keys")
UNIT = "cabinet-update.service"
LOOK_S = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        f"Installs only what a key in {KEYS} has signed, and not while charges run. The new version is on trial for\n"
        f"{TRIAL_S // 60} minutes: where it fails its self-test, does not come up, crashes, or the computer restarts,\n"
        "the old one comes back by itself.\n\n"
        "examples:\n  cabinet update install cabinet-0.2.0-arm64.bundle\n  cabinet update status"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser("install", help="install a bundle, and wait until it is known whether it stays")
    add_config(install)
    install.add_argument("bundle", type=Path, metavar="FILE")
    install.add_argument("--during-sessions", action="store_true", help="also while charges run; they pause meanwhile")
    install.add_argument("--older", action="store_true", help="also a version that is not newer")
    install.add_argument("--no-wait", action="store_true", help="end when the trial has begun")
    actions.add_parser("status", help="the update under way, or the last one")
    watch = actions.add_parser("watch", help="what the unit does: see an update through to its end")
    add_config(watch)


def main(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    records = Records()
    if args.action == "status":
        return _status(records)
    if args.action == "watch":
        records.check_private()
        ended = see_through(Computer(args.config), records, SystemClock(), time.sleep)
        if ended is not None:
            print(in_words(ended))
        return 0
    trial = _prepare(args, records)
    subprocess.run(["systemctl", "start", "--no-block", UNIT], check=True)
    print(f"version {trial.new} is being installed; then it is on trial for {TRIAL_S // 60} minutes")
    return 0 if args.no_wait else _follow(records, trial)


def _prepare(args: argparse.Namespace, records: Records) -> Trial:
    """All that is needed to go back, on disk, before anything is changed. Raises CabinetError."""
    computer = Computer(args.config)
    records.check_private()
    under_way = records.load()
    records.incoming.unlink(missing_ok=True)
    try:
        keys = bundle.keys_in(KEYS.read_text(encoding="utf-8"), str(KEYS))
    except OSError as error:
        raise CabinetError(f"{KEYS}: {error.strerror}: it says who may update this cabinet") from error
    manifest, signer = bundle.read(args.bundle, keys, records.incoming)
    version = computer.version()
    found = Found(
        architecture=computer.architecture(),
        python=computer.python(),
        version=version,
        newer=computer.is_newer(manifest.version, version),
        sessions=computer.sessions(),
        free=shutil.disk_usage(records.folder).free,
        installed=computer.installed_bytes(),
        read_only=computer.read_only(),
        changed_files=computer.changed_files(),
        on_trial=under_way.new if under_way is not None else None,
    )
    if refused := objections(manifest, found, Asked(args.during_sessions, args.older)):
        records.incoming.unlink(missing_ok=True)
        raise CabinetError("\n".join(refused))
    records.incoming.replace(records.new)
    print(f"version {manifest.version}, signed by {signer}; {version} is packed to go back to")
    computer.pack_installed(records.old_files, records.old)
    trial = Trial(
        old=version,
        new=manifest.version,
        phase=Phase.PREPARED,
        boot_id=computer.boot_id(),
        schema=computer.schema(),
        backup=computer.back_up(),
    )
    records.save(trial)
    return trial


def _follow(records: Records, trial: Trial) -> int:
    """What happens, as it happens. Exit status 0 where the new version stays."""
    said: Phase | None = None
    while (now := records.load()) is not None:
        if now.phase is not said:
            said = now.phase
            print(in_words(now), flush=True)
        time.sleep(LOOK_S)
    last = records.last()
    if last is None or last.new != trial.new:
        raise CabinetError("what came of the update is not recorded: journalctl -u cabinet-update")
    print(in_words(last))
    return 0 if last.phase is Phase.KEPT else 1


def _status(records: Records) -> int:
    trial = records.load() or records.last()
    print("there has been no update" if trial is None else in_words(trial))
    return 0


def in_words(trial: Trial) -> str:
    words = {
        Phase.PREPARED: f"version {trial.new} is about to be installed",
        Phase.INSTALLING: f"version {trial.new} is being installed",
        Phase.TRIAL: f"version {trial.new} is on trial",
        Phase.GOING_BACK: f"version {trial.old} is being put back",
        Phase.KEPT: f"version {trial.new} is installed and stays",
        Phase.GONE_BACK: f"version {trial.old} is installed again, {trial.new} is not",
    }[trial.phase]
    return f"{words}: {trial.why}" if trial.why else words
