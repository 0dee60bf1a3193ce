"""An update in words, for who types `cabinet update` and for the console: texts of the part `update`."""

from cabinet.texts import Texts
from cabinet.update.trial import Objection, Trial


def told(trial: Trial, words: Texts) -> str:
    """How far it is, or how it ended; the reason as the programs gave it."""
    text = words(f"update.phase.{trial.phase.name.lower()}", old=trial.old, new=trial.new)
    return f"{text}: {trial.why}" if trial.why else text


def objected(objection: Objection, words: Texts) -> str:
    """One reason against installing, in a sentence."""
    return words(f"update.against.{objection.code}", **objection.params)
