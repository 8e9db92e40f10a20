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
all. A condition is asked of what had happened by then. It fires once time has passed up to it, or when A
comes later than that, by a day at most; never for a wait that was over before the trigger was defined.
"""

from services.segment.evaluation.plan import Plan
from services.segment.evaluation.readers import Key
from services.segment.evaluation.series import BASE_KEEP, TrackedSeries, needed_series

__all__ = ["BASE_KEEP", "Key", "Plan", "TrackedSeries", "needed_series"]
