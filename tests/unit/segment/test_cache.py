from services.segment.membership.model import State
from services.segment.membership.sql import Cache


def test_a_cache_holds_so_many_bytes_and_drops_what_was_stored_longest_ago() -> None:
    cache = Cache(most_bytes=100)
    for profile_id in ("ada", "bob", "eve"):
        cache.put(State(profile_id), 40)

    assert [False, True, True] == [cache.state(p) is not None for p in ("ada", "bob", "eve")]


def test_what_is_stored_again_counts_once_by_its_new_size() -> None:
    cache = Cache(most_bytes=100)
    cache.put(State("ada"), 40)
    cache.put(State("bob"), 40)
    newer = State("ada", revision=2)
    cache.put(newer, 60)
    assert newer is cache.state("ada")
    assert cache.state("bob") is not None

    cache.put(State("ada"), 61)
    assert [True, False] == [cache.state(p) is not None for p in ("ada", "bob")]


def test_a_state_larger_than_the_cache_is_not_held() -> None:
    cache = Cache(most_bytes=100)
    cache.put(State("ada"), 101)
    cache.put(State("bob"), 90)

    assert [False, True] == [cache.state(p) is not None for p in ("ada", "bob")]


def test_what_is_forgotten_takes_no_room() -> None:
    cache = Cache(most_bytes=100)
    cache.put(State("ada"), 90)
    cache.clocks[0] = 5
    cache.forget()
    cache.put(State("bob"), 90)

    assert ({}, None) == (cache.clocks, cache.state("ada"))
    assert cache.state("bob") is not None
