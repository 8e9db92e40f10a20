"""Computes memberships and triggers from a person's state: the one function behind streaming, timers,
backfills and rebuilds.

**Memberships.** Whether a rule holds is a function of the events, traits and consent that were applied
and of the clock t. An event is in a window w as long as its time > t - w, so one newer than the clock
counts at once. What arrives is judged at the clock at which it arrives; then time passes window end by
window end, and a membership that ends with a window ends at exactly that time.

**True times.** An entry carries the time since when the rule has held, by the times of the events, and the
event that decided it; so does an exit that an event caused. This is exact for the last seven days at
least: events are kept singly for seven days more than the longest window that rules look at them through.
What is older is told as of that horizon, with no event; and what holds for want of anything to the
contrary, as of the first event of the person. Once told, a time stays.

**Triggers.** A wait begun by event A at time a is over at a + delay, unless A came again in
(a, a + delay] or an answer came in [a, a + delay]; of several A at one time the greatest id stands for
all. Where each event fires for itself, another A ends no wait. Times of different clocks that are up to
five minutes apart say nothing of what came first: there an answer that was received after A counts as
later. A condition is asked of what had happened by then. It fires once time has passed up to it, or when A
comes later than that, by a day at most; never for a wait that was over before the trigger was defined.
An answer that comes within seven days after it has fired may take that back.
"""

from services.segment.membership.model.plan import Plan
from services.segment.membership.model.readers import Key
from services.segment.membership.model.series import SeriesState
from services.segment.membership.model.state import (
    ExitReason,
    Fact,
    Membership,
    Occurrence,
    Rebuild,
    State,
    Transition,
    TransitionKind,
    Update,
    origin_of,
)
from services.segment.membership.model.tracking import (
    BASE_KEEP,
    TrackedSeries,
    TrackedTrait,
    needed_series,
    needed_traits,
)

__all__ = [
    "BASE_KEEP",
    "ExitReason",
    "Fact",
    "Key",
    "Membership",
    "Occurrence",
    "Plan",
    "Rebuild",
    "SeriesState",
    "State",
    "TrackedSeries",
    "TrackedTrait",
    "Transition",
    "TransitionKind",
    "Update",
    "needed_series",
    "needed_traits",
    "origin_of",
]
