from io import StringIO

from cli.commands.training import follow


def test_a_trainings_log_tells_how_far_it_is_and_the_rest_is_kept_for_a_failure() -> None:
    log = StringIO(
        '{"event": "training goes on", "done": 3, "total": 20, "detail": "judging", "level": "info"}\n'
        '{"event": "operation ended", "state": "failed", "level": "info"}\n'
        "nobody has touched a product\n"
    )
    told: list[tuple[int, int, str]] = []
    others = follow(log, lambda *at: told.append(at))

    assert [(3, 20, "judging")] == told
    assert ["nobody has touched a product"] == others
