"""The tests' broker: what a run in sixty-four would stumble over."""

from tests.kafka import cluster_id


def test_no_cluster_id_looks_like_an_option() -> None:
    ids = {cluster_id() for _ in range(1_000)}

    assert 1_000 == len(ids)
    assert not [id_ for id_ in ids if id_.startswith("-")]
    assert {22} == {len(id_) for id_ in ids}
