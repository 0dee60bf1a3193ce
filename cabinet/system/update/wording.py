"""Texts of an update, for `cabinet update` and for the console: the part `update` of the texts."""

from cabinet.system.update.trial import Objection, UpdateRecord
from cabinet.texts import Texts


def describe_update(trial: UpdateRecord, words: Texts) -> str:
    """Return progress or outcome of an update in words; the reason as the programs reported it."""
    text = words(f"update.phase.{trial.phase.name.lower()}", old=trial.old, new=trial.new)
    return f"{text}: {trial.why}" if trial.why else text


def objection_text(objection: Objection, words: Texts) -> str:
    """Return one reason against installing as a sentence."""
    return words(f"update.against.{objection.code}", **objection.params)
