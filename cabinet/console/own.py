"""What concerns the console itself: its language, its help, the way out."""

from cabinet.console import screens
from cabinet.console.arguments import LANGUAGE
from cabinet.console.declare import LOGOUT, Desk, Language, Outcome, Shown, command
from cabinet.console.staff import Level


@command("language", Level.LOOK, LANGUAGE, example="language en")
def language(desk: Desk, code: str) -> Outcome:
    return Language(code)


@command("help", Level.LOOK, reads=True)
def help_(desk: Desk) -> Outcome:
    """Only what this account may run."""
    rows = [(plan.usage(desk.words), desk.words(f"help.{plan.key}")) for plan in desk.plans]
    return Shown(screens.help_lines(rows, desk.words), [{"usage": usage, "help": text} for usage, text in rows])


@command("logout", Level.LOOK)
def logout(desk: Desk) -> Outcome:
    return LOGOUT
