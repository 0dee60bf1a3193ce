"""Problems of the link to the fleet, by code: each has a text that tells staff what to do."""

from cabinet.errors import CabinetError

REFUSED = frozenset(
    {
        "broker_untrusted",
        "certificate_expired",
        "certificate_refused",
        "certificate_revoked",
        "closed_again",
        "not_authorized",
        "taken_over",
    }
)
"""Waiting does not help: staff have to act at the cabinet or at the fleet."""

CODES = REFUSED | {
    "bad_address",
    "bad_answer",
    "bad_request",
    "code_refused",
    "enrolment_damaged",
    "fleet_unreachable",
    "fleet_untrusted",
    "no_connection",
    "no_fleet_url",
    "openssl_failed",
    "service_gone",
    "too_many_tries",
}


class UplinkProblem(CabinetError):
    """Base of both. `code` is one of CODES, texts `uplink_error.<code>`; the message begins with it."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail

    @property
    def refused(self) -> bool:
        return self.code in REFUSED


class LinkFailed(UplinkProblem):
    """The connection to the broker could not be made, or is lost."""


class EnrolmentError(UplinkProblem):
    """This cabinet could not be enrolled; nothing was changed."""


def code_of(message: str) -> str | None:
    """Return the code that a problem's message begins with; None for any other message."""
    code = message.partition(":")[0]
    return code if code in CODES else None
