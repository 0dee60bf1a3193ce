"""Challenges: an order of the fleet must quote a recent one, which proves its age without any clock of the fleet."""

import secrets

from cabinet.clock import NS, Clock

# Between two challenges. States come every 2 s while a person looks, over a link with seconds of delay.
EVERY_NS = 20 * NS
ACCEPTED = 2  # the last ones given
# States come every 300 s at least, so a fleet always has one to quote. The order's own life (`not_after`) is much
# shorter and bounds its age if the clock is synchronised; if it is not, `fleet_orders` has a shorter bound.
MAX_AGE_NS = 360 * NS


class Challenges:
    """A counter under a random word of this process: a service that was restarted knows none of those given before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._run = secrets.token_hex(4)
        self._given: list[tuple[str, int]] = []  # and the time of its making
        self._counter = 0

    def current(self) -> str:
        """Return the challenge for a state message; another one if the last was made `EVERY_NS` ago."""
        now_ns = self._clock.monotonic_ns()
        if not self._given or now_ns - self._given[-1][1] >= EVERY_NS:
            self._counter += 1
            self._given = [*self._given, (f"{self._run}-{self._counter}", now_ns)][-ACCEPTED:]
        return self._given[-1][0]

    def age_ns(self, challenge: str) -> int | None:
        """Return the time since `challenge` was made; None if it is not accepted any more, or was never given."""
        made_ns = dict(self._given).get(challenge)
        if made_ns is None:
            return None
        age_ns = self._clock.monotonic_ns() - made_ns
        return age_ns if age_ns <= MAX_AGE_NS else None
