import time
import uuid

from libs.ids import new_uuid


def test_new_uuids_are_of_version_7_distinct_and_sorted_by_the_time_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    first = [uuid.UUID(new_uuid()) for _ in range(1000)]
    middle = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == middle:
        pass
    later = uuid.UUID(new_uuid())

    assert {(7, uuid.RFC_4122)} == {(one.version, one.variant) for one in first}
    assert 1000 == len(set(first))
    assert max(first) < later
    assert before <= min(first).int >> 80 <= middle
