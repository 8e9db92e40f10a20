"""Follows the stream, lets time pass, computes what was defined anew, and answers who is in a segment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from libs.errors import NotFound, Unavailable
from libs.profile_feed.ports import Histories
from libs.profile_feed.revisions import has_gap, unseen
from services.segment.membership.model import (
    Key,
    Membership,
    Plan,
    Rebuild,
    State,
    Transition,
    TransitionKind,
    Update,
)
from services.segment.membership.ports import Effect, Members, States
from services.segment.model import require

# A long pause, or a new definition, may leave very many: they are taken in portions.
REBUILT_AT_ONCE = 200
DUE_AT_ONCE = 2000
# A batch's records are many and small; what becomes of them is large, and made for so many people at once.
ADVANCED_AT_ONCE = 500

Updates = Mapping[str, Sequence[Callable[[], Update]]]
"""By profile, what reads each of its steps in turn: they are large, and one may not be readable."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What was done for some profiles."""

    transitions: Sequence[Transition]
    rebuilt: int
    more: bool
    """Time is due for more of them already."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What came, and the time that passes with it."""

    updates: Updates
    before: Mapping[int, int]
    """The clocks that stood before, by partition."""
    now: Mapping[int, int]
    """Those that stand now."""
    rebuilds: bool = False
    """Whether this is the turn of those who are set aside."""


class Follower:
    """Keeps the people of some partitions exact, inside a transaction of their owner.

    A partition's clock is the time up to which everything that was acknowledged is on its stream. Time
    passes for a person up to the clock of their partition, and not at all before its first one. Each
    person stands alone: whose state, step or history can't be worked with is set aside.
    """

    def __init__(
        self, plan: Plan, states: States, histories: Histories[Update], index_of: Callable[[str], int]
    ) -> None:
        self._plan = plan
        self._states = states
        self._histories = histories
        self._index_of = index_of

    async def follow(self, updates: Updates, clocks: Mapping[int, int]) -> Followed:
        """Apply updates, then let time pass up to the clocks (by partition) that came with them.

        An update is judged at the clock that stood before: what became due up to then goes first.
        """
        before = await self._states.clocks({*map(self._index_of, updates), *clocks})
        now = before | {index: max(clock, before.get(index, 0)) for index, clock in clocks.items()}
        due = await self._states.due({index: now[index] for index in clocks}, DUE_AT_ONCE)
        followed = await self._advance(list(dict.fromkeys([*updates, *due])), _Batch(updates, before, now))
        await self._states.save_clocks(now)
        return replace(followed, more=followed.more or len(due) == DUE_AT_ONCE)

    async def pass_time(self, indexes: Sequence[int]) -> Followed | None:
        """Advance some of those for whom time is due to the clock; None where there are none."""
        clocks = await self._states.clocks(indexes)
        due = await self._states.due(clocks, DUE_AT_ONCE)
        return await self._advance(due, _Batch({}, clocks, clocks)) if due else None

    async def catch_up(self, indexes: Sequence[int], limit: int) -> Followed | None:
        """Advance some states of an older plan to this one; None where there are none left."""
        clocks = await self._states.clocks(indexes)
        outdated = await self._states.outdated(clocks, self._plan.version, limit)
        return await self._advance(outdated, _Batch({}, clocks, clocks)) if outdated else None

    async def rebuild(self, indexes: Sequence[int], limit: int) -> Followed | None:
        """Rebuild some of those who are set aside, and whose turn it is; None where there are none."""
        clocks = await self._states.clocks(indexes)
        profile_ids = await self._states.to_rebuild(clocks, limit)
        batch = _Batch({}, clocks, clocks, rebuilds=True)
        return await self._advance(profile_ids, batch) if profile_ids else None

    async def finish_plan(self, indexes: Sequence[int]) -> bool:
        """Note that all states are of this plan; not before each partition's first clock."""
        if len(await self._states.clocks(indexes)) < len(indexes):
            return False
        await self._states.finish_plan(indexes, self._plan.version)
        return True

    async def _advance(self, profile_ids: Sequence[str], batch: _Batch) -> Followed:
        """Apply updates to profiles and advance them to the clocks, stored portion by portion.

        So memory stays small, and the transaction is never idle for long.
        """
        transitions: list[Transition] = []
        rebuilt = 0
        more = False
        for first in range(0, len(profile_ids), ADVANCED_AT_ONCE):
            followed = await self._advance_portion(profile_ids[first : first + ADVANCED_AT_ONCE], batch)
            transitions += followed.transitions
            rebuilt += followed.rebuilt
            more = more or followed.more
        return Followed(transitions, rebuilt, more)

    async def _advance_portion(self, profile_ids: Sequence[str], batch: _Batch) -> Followed:
        loaded = await self._states.load(profile_ids)
        people = []
        for profile_id, state in loaded.states.items():
            if batch.rebuilds or profile_id not in loaded.set_aside:
                person = self._person(state, batch)
                person.is_anew = batch.rebuilds or profile_id in loaded.unreadable
                people.append(person)
        current: list[_Person] = []
        behind: list[_Person] = []
        for person in people:
            if person.state.behind and person.state.profile_id in batch.updates:
                # Their history, which holds this too, is read on when it is their turn.
                continue
            person.guard(person.receive)
            (behind if person.is_behind else current).append(person)
        transitions = await self._finish(current)
        for first in range(0, len(behind), REBUILT_AT_ONCE):
            portion = behind[first : first + REBUILT_AT_ONCE]
            await self._read_on(portion)
            transitions += await self._finish(portion)
        return Followed(transitions, len(behind), any(person.is_due for person in people))

    def _person(self, state: State, batch: _Batch) -> "_Person":
        if state.plan > self._plan.version:
            raise Unavailable("another worker knows newer definitions")
        index = self._index_of(state.profile_id)
        updates = batch.updates.get(state.profile_id, ())
        return _Person(self._plan, state, updates, batch.before.get(index, 0), batch.now.get(index, 0))

    async def _read_on(self, people: Sequence["_Person"]) -> None:
        """Apply what the states lack of their histories, as much as comes in the time of one call."""
        by_profile = {person.state.profile_id: person for person in people}
        wanted = {id_: person.state.revision for id_, person in by_profile.items() if not person.failure}
        for profile_id in wanted:
            by_profile[profile_id].state.behind = True
        if not wanted:
            return
        async for part in self._histories.read(wanted):
            person = by_profile[part.profile_id]
            if part.problem:
                person.failure = person.failure or part.problem
                continue
            steps, revision = part.steps, part.revision

            def apply(
                person: "_Person" = person,
                steps: Sequence[Update] = steps,
                revision: int | None = revision,
            ) -> None:
                person.apply(steps)
                if revision is not None:
                    person.complete(revision)

            person.guard(apply)

    async def _finish(self, people: Sequence["_Person"]) -> list[Transition]:
        """Let time pass for them, and store them; or set them aside."""
        for person in people:
            person.guard(person.advance)
        sound = [person for person in people if not person.failure]
        await self._states.set_aside({p.state.profile_id: p.failure for p in people if p.failure})
        transitions = [transition for person in sound for transition in person.transitions]
        transitions = await self._effective(transitions)
        await self._states.save([person.state for person in sound], transitions)
        return transitions

    async def _effective(self, transitions: list[Transition]) -> list[Transition]:
        """Without triggers whose effect is there already, and without taking back what never was."""
        triggered = [t for t in transitions if t.kind is TransitionKind.TRIGGERED]
        if triggered:
            fresh = await self._states.claim(triggered)
            transitions = [t for t in transitions if _acts(t, TransitionKind.TRIGGERED, fresh)]
        withdrawn = [t for t in transitions if t.kind is TransitionKind.WITHDRAWN]
        if withdrawn:
            taken = await self._states.withdraw(withdrawn)
            transitions = [t for t in transitions if _acts(t, TransitionKind.WITHDRAWN, taken)]
        return transitions


def _acts(transition: Transition, kind: TransitionKind, effects: set[Effect]) -> bool:
    """Whether it is of another kind, or the first with its effect: two profiles of one batch may have it."""
    if transition.kind is not kind:
        return True
    effect = Effect(transition.definition_id, transition.cause_id)
    if effect not in effects:
        return False
    effects.remove(effect)
    return True


class _Person:
    """One person's way from the state that is stored to the clock of their partition."""

    __slots__ = (
        "_before",
        "_came",
        "_decides",
        "_now",
        "_plan",
        "_touched",
        "_updates",
        "failure",
        "is_anew",
        "is_behind",
        "state",
        "transitions",
    )

    def __init__(
        self,
        plan: Plan,
        state: State,
        updates: Sequence[Callable[[], Update]],
        before: int,
        now: int,
    ) -> None:
        self.state = state
        self.transitions: list[Transition] = []
        self.failure = ""
        """Why they are to be set aside."""
        self.is_anew = False
        """Whether nothing of the state counts but what was told to others."""
        self.is_behind = False
        """Whether the state lacks something that only the history tells."""
        self._plan = plan
        self._updates = updates
        self._came: list[Update] = []
        self._before = before
        self._now = now
        # Of whose history a part is known, nothing is decided on the way.
        self._decides = not state.behind
        # None: more has changed than what is applied here.
        self._touched: set[Key] | None = None if state.changed else set()

    @property
    def is_due(self) -> bool:
        """Whether time has not passed up to the clock yet."""
        return not self.failure and self._now > 0 and not self.state.open and _is_due(self.state, self._now)

    def guard(self, work: Callable[[], None]) -> None:
        """Do a part of the work; whatever it raises concerns this person alone."""
        if self.failure:
            return
        try:
            work()
        except Unavailable:
            raise
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"

    def receive(self) -> None:
        """Apply what came, unless something is missing before it."""
        updates = self._came
        for read in self._updates:
            try:
                updates.append(read())
            except Exception:
                # The history has the same step: whether it can be read there decides.
                self.is_behind = True
        fresh = unseen(updates, self.state.revision)
        if self.is_anew or self._plan.lacks(self.state):
            self._begin_anew()
        elif not has_gap(fresh, self.state.revision) and not self.is_behind:
            # A change whose end is not at hand between batches may have lost it.
            self.is_behind = self.state.behind or (self.state.open and not updates)
            self.apply(fresh)
        else:
            self.is_behind = True

    def apply(self, updates: Sequence[Update]) -> None:
        """Apply the updates that are new."""
        for update in updates:
            if update.revision <= self.state.revision:
                continue
            if self.state.rebuild is None or update.revision > self.state.rebuild.revision:
                self._resume()
            self._plan.apply(self.state, update, set() if self._touched is None else self._touched)

    def complete(self, revision: int) -> None:
        """Note that the history, of that revision, has been applied to its end."""
        told = max((update.revision for update in self._came), default=0)
        if revision == 0:
            # Nobody has the id any more: whatever is known of it is void.
            known = self.state.rebuild.revision if self.state.rebuild else 0
            self.state.close("")
            self.state.revision = max(told, known, self.state.revision)
        elif self.state.revision < told:
            # Behind its own stream: it is read on a little later.
            return
        self.state.behind = self.state.open = False
        self._resume()

    def advance(self) -> None:
        """Let time pass up to the clock; without one, nothing is decided before it comes."""
        if self.state.behind:
            self._touched = None
        if self._now:
            self.transitions += self._plan.advance(self.state, self._now, self._before, self._touched)
        else:
            self.state.due = None if self.state.open else 0

    def _begin_anew(self) -> None:
        """Keep nothing but what was told to others, and what must be known to go on."""
        self.is_behind, self._touched = True, None
        old = self.state
        rebuild = old.rebuild
        if rebuild is None and old.revision:
            news = [occurrence.event_id for occurrence in old.news]
            rebuild = Rebuild(old.revision, old.plan, news, old.changed, old.open)
        self.state = State(
            old.profile_id,
            writes=old.writes,
            as_of=old.as_of,
            memberships=old.memberships,
            due=old.due,
            rebuild=rebuild,
            anew=True,
        )

    def _resume(self) -> None:
        """Where all that the state knew is known again, go on from there: let pass the time up to now."""
        state, rebuild = self.state, self.state.rebuild
        if rebuild is not None:
            state.plan = rebuild.plan
            # What was acted on is no news.
            news = set(rebuild.news)
            state.news = [o for o in state.news if o.event_id in news]
            state.changed, state.open = rebuild.changed, rebuild.open
            state.rebuild = None
        behind, state.behind = state.behind, False
        while self._decides and self._before and not state.open and _is_due(state, self._before):
            self.transitions += self._plan.advance(state, self._before)
        state.behind = behind


def _is_due(state: State, clock: int) -> bool:
    return state.due is not None and state.due <= clock


class Memberships:
    """Answers who is in a segment."""

    def __init__(self, members: Members) -> None:
        self._members = members

    async def members(self, segment_id: str, after: str, limit: int) -> list[tuple[str, Membership]]:
        """A page of members, by profile id."""
        require("segment_id", segment_id)
        if not await self._members.exists(segment_id):
            raise NotFound(f"there is no segment {segment_id}", segment_id=segment_id)
        return await self._members.page(segment_id, after, limit)

    async def of(self, profile_ids: Sequence[str]) -> list[tuple[str, str, Membership]]:
        """The memberships (profile, segment, since when) of some profiles."""
        return await self._members.of(profile_ids)
