"""Follows the stream, lets time pass, and computes what was defined anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from libs.errors import Unavailable
from services.segment.domain import State, Transition, TransitionKind, Update
from services.segment.evaluation import Key, Plan
from services.segment.ports import Histories, States

# A long pause, or a new definition, may leave very many: they are taken in portions.
REBUILT_AT_ONCE = 200
DUE_AT_ONCE = 2000
# A batch's records are many and small; what becomes of them is large, and made for so many people at once.
BROUGHT_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Followed:
    """What was done for some profiles."""

    transitions: Sequence[Transition]
    rebuilt: int
    more: bool
    """Time is due for more of them already."""


@dataclass(frozen=True, slots=True)
class _News:
    """What came, and the time that passes with it."""

    updates: Mapping[str, Sequence[Update]]
    """By profile."""
    before: Mapping[int, int]
    """The clocks that stood before, by partition."""
    now: Mapping[int, int]
    """Those that stand now."""


class Follower:
    """Keeps the people of some partitions exact, inside a transaction of their owner.

    A partition's clock is the time up to which everything that was acknowledged is on its stream. Time
    passes for a person up to the clock of their partition, and not at all before its first one.
    """

    def __init__(
        self, plan: Plan, states: States, histories: Histories, index_of: Callable[[str], int]
    ) -> None:
        self._plan = plan
        self._states = states
        self._histories = histories
        self._index_of = index_of

    async def follow(self, updates: Mapping[str, Sequence[Update]], clocks: Mapping[int, int]) -> Followed:
        """Apply updates (by profile), then let time pass up to the clocks (by partition) that came with them.

        An update is judged at the clock that stood before: what became due up to then goes first.
        """
        before = await self._states.clocks({*map(self._index_of, updates), *clocks})
        now = before | {index: max(clock, before.get(index, 0)) for index, clock in clocks.items()}
        due = await self._states.due({index: now[index] for index in clocks}, DUE_AT_ONCE)
        followed = await self._bring(list(dict.fromkeys([*updates, *due])), _News(updates, before, now))
        await self._states.save_clocks(now)
        return replace(followed, more=followed.more or len(due) == DUE_AT_ONCE)

    async def pass_time(self, indexes: Sequence[int]) -> Followed | None:
        """Bring some of those for whom time is due up to the clock; None where there are none."""
        clocks = await self._states.clocks(indexes)
        due = await self._states.due(clocks, DUE_AT_ONCE)
        return await self._bring(due, _News({}, clocks, clocks)) if due else None

    async def catch_up(self, indexes: Sequence[int], limit: int) -> Followed | None:
        """Bring some states of an older plan up to this one; None where there are none left."""
        clocks = await self._states.clocks(indexes)
        outdated = await self._states.outdated(clocks, self._plan.version, limit)
        return await self._bring(outdated, _News({}, clocks, clocks)) if outdated else None

    async def finish_plan(self, indexes: Sequence[int]) -> bool:
        """Note that all states are of this plan; not before each partition's first clock."""
        if len(await self._states.clocks(indexes)) < len(indexes):
            return False
        await self._states.finish_plan(indexes, self._plan.version)
        return True

    async def _bring(self, profile_ids: Sequence[str], news: _News) -> Followed:
        """Apply updates to profiles and bring them up to the clocks, stored portion by portion.

        So memory stays small, and the transaction is never idle for long.
        """
        transitions: list[Transition] = []
        rebuilt = 0
        more = False
        for first in range(0, len(profile_ids), BROUGHT_AT_ONCE):
            portion = profile_ids[first : first + BROUGHT_AT_ONCE]
            followed = await self._bring_portion(portion, news)
            transitions += followed.transitions
            rebuilt += followed.rebuilt
            more = more or followed.more
        return Followed(transitions, rebuilt, more)

    async def _bring_portion(self, profile_ids: Sequence[str], news: _News) -> Followed:
        states = await self._states.load(profile_ids)
        lives = [self._life(state, news) for state in states.values()]
        current: list[_Life] = []
        behind: list[_Life] = []
        for life in lives:
            unseen = news.updates.get(life.state.profile_id, ())
            if life.is_behind(unseen):
                behind.append(life)
            else:
                life.take(unseen)
                current.append(life)
        transitions = await self._finish(current)
        for first in range(0, len(behind), REBUILT_AT_ONCE):
            outdated = behind[first : first + REBUILT_AT_ONCE]
            await self._rebuild(outdated, news.updates)
            transitions += await self._finish(outdated)
        return Followed(transitions, len(behind), any(life.is_due for life in lives))

    def _life(self, state: State, news: _News) -> "_Life":
        if state.plan > self._plan.version:
            raise Unavailable("another worker knows newer definitions")
        index = self._index_of(state.profile_id)
        return _Life(self._plan, state, news.before.get(index, 0), news.now.get(index, 0))

    async def _rebuild(self, lives: Sequence["_Life"], updates: Mapping[str, Sequence[Update]]) -> None:
        """Compute states from their histories, which hold the updates at hand and maybe later ones."""
        by_profile = {life.state.profile_id: life for life in lives}
        known = {
            id_: max((update.revision for update in updates.get(id_, ())), default=life.state.revision)
            for id_, life in by_profile.items()
        }
        for life in lives:
            life.forget()
        async for part in self._histories.read(list(by_profile)):
            life = by_profile[part.profile_id]
            life.take(part.updates)
            if part.revision == 0:
                # Nobody has the id any more: whatever is known of it is void.
                life.state.bury("")
                life.state.revision = known[part.profile_id]
        for profile_id, life in by_profile.items():
            if life.state.revision < known[profile_id]:
                raise Unavailable(f"the history of {profile_id} is of an older revision than its updates")
            life.meet()

    async def _finish(self, lives: Sequence["_Life"]) -> list[Transition]:
        """Let time pass for them, and store them."""
        for life in lives:
            life.arrive()
        transitions = [transition for life in lives for transition in life.transitions]
        triggered = [t for t in transitions if t.kind is TransitionKind.TRIGGERED]
        if triggered:
            fresh = await self._states.claim(triggered)
            transitions = [t for t in transitions if _acts(t, fresh)]
        await self._states.save([life.state for life in lives], transitions)
        return transitions


def _acts(transition: Transition, fresh: set[tuple[str, bytes]]) -> bool:
    """Whether it is no trigger, or the first with its cause: two profiles of one batch may have it."""
    if transition.kind is not TransitionKind.TRIGGERED:
        return True
    effect = transition.definition_id, transition.cause_id
    if effect not in fresh:
        return False
    fresh.remove(effect)
    return True


class _Life:
    """One person's way from the state that is stored to the clock of their partition."""

    def __init__(self, plan: Plan, state: State, before: int, now: int) -> None:
        self.state = state
        self.transitions: list[Transition] = []
        self._plan = plan
        self._before = before
        self._now = now
        self._old: State | None = None
        # None: more has changed than what is taken here.
        self._touched: set[Key] | None = None if state.changed else set()

    @property
    def is_due(self) -> bool:
        """Whether time has not passed up to the clock yet."""
        return self._now > 0 and not self.state.open and _is_due(self.state, self._now)

    def is_behind(self, updates: Sequence[Update]) -> bool:
        """Whether the state lacks something that only the whole history tells."""
        expected = self.state.revision + 1
        for update in updates:
            if update.revision > expected:
                return True
            expected = max(expected, update.revision + 1)
        # A change whose end is not at hand between batches may have lost it.
        return self._plan.lacks(self.state) or (self.state.open and not updates)

    def take(self, updates: Sequence[Update]) -> None:
        """Apply the updates that are new."""
        for update in updates:
            if update.revision <= self.state.revision:
                continue
            if self._old is None or update.revision > self._old.revision:
                self.meet()
            self._plan.apply(self.state, update, set() if self._touched is None else self._touched)

    def forget(self) -> None:
        """Start anew, with nothing but what was told to others."""
        self._touched = None
        old = self._old = self.state
        self.state = State(
            old.profile_id, writes=old.writes, as_of=old.as_of, memberships=old.memberships, due=old.due
        )

    def meet(self) -> None:
        """Note that all the state knew is known again, and let pass the time up to what is new."""
        if self._old is not None and self._old.revision:
            old, state = self._old, self.state
            state.plan = old.plan
            # What was acted on is no news.
            state.news = [o for o in state.news if o.event_id in {o.event_id for o in old.news}]
            state.changed, state.open = old.changed, old.open
        self._old = None
        while self._before and not self.state.open and _is_due(self.state, self._before):
            self.transitions += self._plan.advance(self.state, self._before)

    def arrive(self) -> None:
        """Let time pass up to the clock; without one, nothing is decided before it comes."""
        if self._now:
            self.transitions += self._plan.advance(self.state, self._now, self._before, self._touched)
        else:
            self.state.due = None if self.state.open else 0


def _is_due(state: State, clock: int) -> bool:
    return state.due is not None and state.due <= clock
