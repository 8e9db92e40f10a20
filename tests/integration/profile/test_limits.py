"""What limits drop is counted and told."""

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.builders import collected
from tests.integration.profile.harness import Deployment


def _dropped(what: str) -> float:
    return REGISTRY.get_sample_value("tessera_profile_dropped_total", {"what": what}) or 0.0


async def test_100_junk_purposes_then_analytics_false(deployment: Deployment) -> None:
    before = {what: _dropped(what) for what in ("purposes", "traits", "identifiers")}
    junk = {f"junk {n}": True for n in range(105)}
    large = {f"t{n}": "x" * 60_000 for n in range(6)}
    with capture_logs() as lines:
        await deployment.apply(collected(user_id="1", consent=junk), workers=1)
        await deployment.apply(collected(user_id="1", consent={"analytics": False}), workers=1)
        await deployment.apply(collected(user_id="2", traits=large), workers=1)
    told = [line for line in lines if line["event"] == "profiles have no room"]
    consent = (await deployment.profile("u:1")).consent

    assert not consent["analytics"].granted
    assert 101 == len(consent)
    assert 5 == _dropped("purposes") - before["purposes"]
    assert 2 == _dropped("traits") - before["traits"]
    assert [{"purposes": 5}, {"traits": 2}] == [
        {what: line[what] for what in ("purposes", "traits") if what in line} for line in told
    ]
    assert all(line["log_level"] == "warning" for line in told)
