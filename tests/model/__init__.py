"""What Tessera must compute, in plain Python and by brute force, with none of its code.

From the list of acknowledged events the model says who is who, what is known of them, which segments
they are in and which triggers are due. Every fault and property test compares with it.
"""

from tests.model.checking import Profile, assert_fired, assert_members, assert_people, persons
from tests.model.events import DAY, HOUR, SECOND, Event, exactly, first_copies
from tests.model.facts import Facts, Said, View, facts_of
from tests.model.identity import Person, people, people_in_order
from tests.model.rules import Segment, Trigger, members, memberships
from tests.model.trying import assert_tried
from tests.model.waits import Due, due_triggers

__all__ = [
    "DAY",
    "HOUR",
    "SECOND",
    "Due",
    "Event",
    "Facts",
    "Person",
    "Profile",
    "Said",
    "Segment",
    "Trigger",
    "View",
    "assert_fired",
    "assert_members",
    "assert_people",
    "assert_tried",
    "due_triggers",
    "exactly",
    "facts_of",
    "first_copies",
    "members",
    "memberships",
    "people",
    "people_in_order",
    "persons",
]
