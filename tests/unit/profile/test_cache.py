"""What a worker remembers is counted in bytes, not in entries (ADR 0013)."""

from services.profile.identity.sql import Cache


def test_large_profiles_take_the_place_of_many_small_ones() -> None:
    small, large = Cache(1 << 20), Cache(1 << 20)
    for number in range(5_000):
        small.update({f"u:{number}": f"{number}"}, {f"{number}": (1, b"x" * 100)})
        large.update({f"u:{number}": f"{number}"}, {f"{number}": (1, b"x" * 100_000)})

    assert small.size <= 1 << 20 >= large.size
    assert len(small.states) > 2_000
    assert 0 < len(large.states) < 10
    assert "4999" in large.states, "what was stored last stays"


def test_a_profile_that_is_stored_again_counts_once() -> None:
    cache = Cache(1 << 20)
    for revision in range(100):
        cache.update({"u:1": "1"}, {"1": (revision, b"x" * 10_000)})
    size = cache.size
    cache.forget()

    assert size < 11_000
    assert 0 == cache.size
