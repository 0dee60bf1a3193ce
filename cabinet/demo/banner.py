"""Banner of `cabinet run` once everything is ready: the addresses, and first things to try. Pure."""

from cabinet.config import Config
from cabinet.demo.logins import CONSOLE_NAME, STAFF_NAME, Logins

TRIED_OUTLET = 3  # as in README.md


def banner_lines(config: Config, cabinet: str, url: str, logins: Logins | None, terminal: str | None) -> list[str]:
    """Return the banner; `cabinet` is the command as typed here, `url` the service, `terminal` opens the console."""
    outlet = config.outlet_by_number(TRIED_OUTLET) or config.outlet[0]
    rows = [("resident", f"{url}/s/{outlet.code}   (outlet {outlet.number}; {url}/ lists all)")]
    if logins is not None:
        rows.append(("", f"card {logins.card}, PIN {logins.pin}"))
    rows.append(("property", f"{url}/property"))
    if logins is not None:
        rows += [
            ("", f"name {STAFF_NAME}, password {logins.staff_password}"),
            ("usage API", f"curl -H 'Authorization: Bearer {logins.api_token}' {url}/api/v1/usage"),
        ]
    if terminal is not None:
        rows.append(("console", terminal))
        if logins is not None:
            login = f"login {CONSOLE_NAME}, PIN {logins.console_pin}; then: status"
            rows.append(("", f"{login}   (language en for English; Ctrl-] leaves)"))
    if config.simulated:
        rows.insert(0, ("to play", f"{url}/sim   (the cabinet drawn: plug in a bike, make a short, cut the mains)"))
        rows += [
            (
                "plug a bike",
                f"{cabinet} sim plug {outlet.number} demo   (then start outlet {outlet.number} as the resident)",
            ),
            ("a short", f"{cabinet} sim fault {outlet.number} short --amps 60"),
            ("the truth", f"{cabinet} sim state"),
        ]
    head = f"{config.site.name_en or config.site.name}: {len(config.outlet)} outlets. Ctrl-C stops everything."
    return ["", head, "", *(f"  {label:<12} {text}" for label, text in rows), ""]
