"""`cabinet update`: install a signed bundle on trial, and show the state of the last update."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from cabinet import plain_text
from cabinet.clock import SystemClock
from cabinet.commands.options import add_config
from cabinet.errors import CabinetError
from cabinet.system.update import bundle
from cabinet.system.update.computer import WATCHER, Computer, run_to_end
from cabinet.system.update.records import UpdateFolder
from cabinet.system.update.survey import KEYS, collect_facts, trusted_keys
from cabinet.system.update.trial import TRIAL_S, InstallOptions, UpdatePhase, UpdateRecord, objections
from cabinet.system.update.watch import UpdateRun
from cabinet.system.update.wording import describe_update, objection_text
from cabinet.texts import Texts

WORDS = Texts("update", "en")  # like all of the command line
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
    plain_text.set_up_logging()
    records = UpdateFolder()
    if args.action == "status":
        return _status(records)
    if args.action == "watch":
        records.check_private()
        with records.alone(wait=True):
            ended = UpdateRun(Computer(args.config), records, SystemClock(), time.sleep).resume()
            if ended is not None:
                print(describe_update(ended, WORDS))
        return 0
    trial = _prepare(args, records)
    computer = Computer(args.config)
    computer.start_watcher()
    print(f"version {trial.new} is being installed; then it is on trial for {TRIAL_S // 60} minutes")
    return 0 if args.no_wait else _follow(computer, records, trial, time.sleep)


def _prepare(args: argparse.Namespace, records: UpdateFolder) -> UpdateRecord:
    """Write all data for a return to the old version to disk, before anything is changed. Raises CabinetError."""
    records.check_private()
    with records.alone():
        return _prepare_alone(args, Computer(args.config), records)


def _prepare_alone(args: argparse.Namespace, computer: Computer, records: UpdateFolder) -> UpdateRecord:
    records.incoming.unlink(missing_ok=True)
    opened = bundle.read(args.bundle, trusted_keys(), records.incoming)
    manifest = opened.manifest
    surveyed = collect_facts(computer, records, run_to_end(computer.comparing()))
    found = msgspec.structs.replace(
        surveyed,
        newer=computer.is_newer(manifest.version, surveyed.version),
        sessions=computer.sessions(),
        free=surveyed.free + manifest.size,  # the package is on disk already, and is part of the required space
    )
    if refused := objections(manifest, found, InstallOptions(args.during_sessions, args.older)):
        records.incoming.unlink(missing_ok=True)
        raise CabinetError("\n".join(objection_text(each, WORDS) for each in refused))
    records.incoming.replace(records.new)
    print(f"version {manifest.version}, signed by {opened.signer}; {found.version} is packed to go back to")
    computer.pack_installed(records.old_files, records.old)
    computer.sync()  # after a power cut, the decision depends on these files
    trial = UpdateRecord(
        old=found.version,
        new=manifest.version,
        phase=UpdatePhase.PREPARED,
        boot_id=computer.boot_id(),
        schema=computer.schema(),
        backup=computer.back_up(),  # last: charges and payments after it would be lost with the new version
        sha256=manifest.sha256,
        during_sessions=args.during_sessions,
    )
    records.save(trial)
    return trial


def _follow(computer: Computer, records: UpdateFolder, trial: UpdateRecord, wait: Callable[[float], None]) -> int:
    """Print the progress of the update. Return exit status 0 if the new version stays.

    Raises CabinetError if no process completes the update any more.
    """
    said: UpdatePhase | None = None
    while True:
        gave_up = computer.watcher_gave_up()  # read first: the watcher ends the record, and then itself
        if (now := records.load()) is None:
            break
        if now.phase is not said:
            said = now.phase
            print(describe_update(now, WORDS), flush=True)
        if gave_up:
            again = "is tried again in a minute" if gave_up.startswith("auto") else "is taken up at the next start"
            raise CabinetError(f"{WATCHER} has failed ({gave_up}), what is left {again}: journalctl -u {WATCHER}")
        wait(LOOK_S)
    last = records.last()
    if last is None or last.new != trial.new:
        raise CabinetError("what came of the update is not recorded: journalctl -u cabinet-update")
    print(describe_update(last, WORDS))
    return 0 if last.phase is UpdatePhase.KEPT else 1


def _status(records: UpdateFolder) -> int:
    trial = records.load() or records.last()
    print("there has been no update" if trial is None else describe_update(trial, WORDS))
    return 0
