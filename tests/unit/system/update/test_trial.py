"""Conditions for an installation and for a rollback: every rule, one case each."""

import msgspec
import pytest

from cabinet.system.update.bundle import Manifest
from cabinet.system.update.trial import (
    READY_WITHIN_S,
    SPARE,
    TRIAL_S,
    ComputerFacts,
    InstallOptions,
    Observation,
    TrialVerdict,
    UpdatePhase,
    UpdateRecord,
    judge,
    objections,
    restores_database,
    verdict_at_boot,
)
from cabinet.system.update.wording import objection_text
from cabinet.texts import Texts

MANIFEST = Manifest(format=1, version="0.2.0", architecture="arm64", python="3.11", size=1000, sha256="0" * 64)
COMPUTER = ComputerFacts(
    architecture="arm64", python="3.11", version="0.1.0", newer=True, sessions=0,
    free=1000 + 2 * 3000 + SPARE, installed=3000, changed_files=(), on_trial=None,
)  # fmt: skip
TRIAL = UpdateRecord(old="0.1.0", new="0.2.0", phase=UpdatePhase.TRIAL, boot_id="this", schema=12, backup="b.db")


def test_newer_bundle_on_an_idle_cabinet_is_installed():
    assert objections(MANIFEST, COMPUTER, InstallOptions()) == []


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_bundle_for_several_pythons_fits_each_of_them_and_no_other(python):
    manifest = msgspec.structs.replace(MANIFEST, python="3.11 3.13")
    assert objections(manifest, msgspec.structs.replace(COMPUTER, python=python), InstallOptions()) == []
    (found,) = objections(manifest, msgspec.structs.replace(COMPUTER, python="3.1"), InstallOptions())
    assert "needs Python 3.11 3.13" in objection_text(found, Texts("update", "en"))


@pytest.mark.parametrize(
    ("change", "asked", "says"),
    [
        ({"architecture": "amd64"}, InstallOptions(), "the bundle is for arm64"),
        ({"python": "3.13"}, InstallOptions(), "needs Python 3.11"),
        ({"newer": False}, InstallOptions(), "is not newer than 0.1.0"),
        ({"sessions": 1}, InstallOptions(), "1 charge runs"),
        ({"sessions": 3}, InstallOptions(), "3 charges run"),
        ({"sessions": None}, InstallOptions(), "whether charges run cannot be said"),
        ({"free": 1000 + 2 * 3000 + SPARE - 1}, InstallOptions(), "are free in /var/lib/cabinet"),
        ({"changed_files": ("/usr/lib/cabinet/x.py",)}, InstallOptions(), "/usr/lib/cabinet/x.py"),
        ({"switched_off": True}, InstallOptions(during_sessions=True), "systemctl stop cabinet-failsafe first"),
        ({"on_trial": "0.1.9"}, InstallOptions(), "version 0.1.9 is on trial"),
        # What one was told does not stand for anything else.
        ({"newer": False}, InstallOptions(during_sessions=True), "is not newer"),
        ({"sessions": 1}, InstallOptions(older=True), "1 charge runs"),
    ],
)
def test_bundle_is_refused(change, asked, says):
    (found,) = objections(MANIFEST, msgspec.structs.replace(COMPUTER, **change), asked)
    assert says in objection_text(found, Texts("update", "en"))
    assert objection_text(found, Texts("update", "zh"))


def test_every_reason_is_named_at_once():
    computer = msgspec.structs.replace(COMPUTER, architecture="amd64", sessions=2, free=0)
    assert len(objections(MANIFEST, computer, InstallOptions())) == 3


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"sessions": 3}, InstallOptions(during_sessions=True)),
        ({"sessions": None}, InstallOptions(during_sessions=True)),
        ({"newer": False}, InstallOptions(older=True)),
    ],
)
def test_told_so_it_is_installed(change, asked):
    assert objections(MANIFEST, msgspec.structs.replace(COMPUTER, **change), asked) == []


def seen(since_s: float, **change) -> Observation:
    return Observation(**{"since_s": since_s, "boot_id": "this", **change})


@pytest.mark.parametrize(
    ("observation", "verdict"),
    [
        (seen(0, down=("cabinet-guard",)), TrialVerdict.WAIT),
        (seen(READY_WITHIN_S - 1, down=("cabinet-guard",)), TrialVerdict.WAIT),
        (seen(READY_WITHIN_S, down=("cabinet-guard",)), TrialVerdict.GO_BACK),
        (seen(TRIAL_S - 1), TrialVerdict.WAIT),
        (seen(TRIAL_S), TrialVerdict.KEEP),
        (seen(TRIAL_S, down=("cabinet-service",)), TrialVerdict.GO_BACK),
        (seen(10, restarted=("cabinet-service",)), TrialVerdict.GO_BACK),
        (seen(TRIAL_S, restarted=("cabinet-console",)), TrialVerdict.GO_BACK),
        (seen(10, failed_tests=("the database is not whole",)), TrialVerdict.GO_BACK),
        (seen(10, boot_id="another"), TrialVerdict.GO_BACK),
    ],
)
def test_new_version_is_judged(observation, verdict):
    found, why = judge(TRIAL, observation)
    assert found is verdict
    assert bool(why) == (verdict is TrialVerdict.GO_BACK)


@pytest.mark.parametrize(
    ("phase", "boot_id", "verdict"),
    [
        (UpdatePhase.PREPARED, "another", TrialVerdict.KEEP),  # nothing has happened yet
        (UpdatePhase.INSTALLING, "another", TrialVerdict.GO_BACK),
        (UpdatePhase.INSTALLING, "this", TrialVerdict.GO_BACK),  # the installation itself was killed
        (UpdatePhase.TRIAL, "another", TrialVerdict.GO_BACK),
        (UpdatePhase.TRIAL, "this", TrialVerdict.WAIT),
        (UpdatePhase.GOING_BACK, "another", TrialVerdict.GO_BACK),
        (UpdatePhase.GOING_BACK, "this", TrialVerdict.GO_BACK),
        (UpdatePhase.KEPT, "another", TrialVerdict.WAIT),
        (UpdatePhase.GONE_BACK, "another", TrialVerdict.WAIT),
    ],
)
def test_interrupted_update_is_taken_up(phase, boot_id, verdict):
    assert verdict_at_boot(msgspec.structs.replace(TRIAL, phase=phase), boot_id)[0] is verdict


@pytest.mark.parametrize(("schema", "reads", "restores"), [
    (12, False, False), (13, False, True), (None, False, True), (None, True, False),
])  # fmt: skip
def test_database_is_restored_only_where_the_old_version_could_not_read_it(schema, reads, restores):
    assert restores_database(TRIAL, schema, lambda: reads) is restores


def test_without_a_database_before_there_is_none_to_restore():
    assert not restores_database(msgspec.structs.replace(TRIAL, schema=None, backup=""), None, lambda: False)
