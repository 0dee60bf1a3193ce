"""The member of staff behind a request, with company and site groups, and the navigation."""

from cabinet.records import Actor, Task
from cabinet.web.context import NavigationEntry, PageRequest
from cabinet.web.property import access

SECTIONS = (
    NavigationEntry("cabinets", "/property", "look"),
    NavigationEntry("usage", "/property/usage", "look"),
    NavigationEntry("residents", "/property/residents", "money"),
    NavigationEntry("tariffs", "/property/tariffs", "look"),
    NavigationEntry("payments", "/property/payments", "audit"),
    NavigationEntry("staff", "/property/staff", "staff"),
    NavigationEntry("audit", "/property/audit", "audit"),
)
ACTIONS = (
    "sign_in",
    "top_up", "top_up_undo", "resident_reveal", "resident_block", "resident_unblock", "resident_pin", "resident_erase",
    "tariff_schedule", "sticker_set", "out_of_service", "charge_stop",
    "usage_export",
    "staff_add", "staff_role", "staff_groups", "staff_password", "staff_remove",
    "cabinet_added", "codes_given", "cabinet_enrolled", "cabinet_code", "cabinet_revoked",
    "merchant_added", "merchant_retired", "refund_again", "refund_by_hand", "difference_closed",
)  # fmt: skip
"""Actions of the audit log that can be searched for; each has a text `audit.<action>`."""

OF_THE_WHOLE_COMPANY: frozenset[Task] = frozenset({"staff", "audit", "tokens"})
"""Tasks that a login for some site groups only does not have, whatever its role."""


class FleetActor(Actor, frozen=True, kw_only=True):
    """A member of staff of one company; empty `groups` means all of its sites."""

    company_id: int
    groups: list[str]

    def may(self, task: Task) -> bool:
        return super().may(task) and not (self.groups and task in OF_THE_WHOLE_COMPANY)


async def fleet_actor(request: PageRequest, task: Task) -> FleetActor:
    """Return the signed-in member of staff, if allowed to do `task`. Raises Refused `signed_out`, `not_allowed`."""
    return fleet_actor_of(await access.actor(request, task))


def fleet_actor_of(actor: Actor) -> FleetActor:
    assert isinstance(actor, FleetActor)  # the fleet's `StaffPort` makes no others
    return actor
