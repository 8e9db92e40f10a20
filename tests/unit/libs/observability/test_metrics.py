"""The metrics and the address where they are read."""

import asyncio
import platform
import socket
from importlib.metadata import version
from urllib.request import urlopen

import pytest
from prometheus_client import REGISTRY

from libs.observability import metrics, serve_metrics


async def test_metrics_are_served_until_the_process_stops() -> None:
    stopping = asyncio.Event()
    server = serve_metrics("127.0.0.1:0")
    task = asyncio.create_task(server.run(stopping))
    await asyncio.wait({task}, timeout=0)  # one turn of the loop: it listens before it first waits
    metrics.DEAD_LETTERS.labels("profile", "tessera.ingest.events").inc()
    text = (await asyncio.to_thread(urlopen, f"http://{server.address}/metrics")).read().decode()
    stopping.set()
    await task
    host, _, port = server.address.rpartition(":")
    with socket.socket() as probe:
        refused = probe.connect_ex((host, int(port)))

    assert 'tessera_dead_letters_total{group="profile",topic="tessera.ingest.events"}' in text
    assert 0 != refused


async def test_an_empty_address_serves_nothing_until_the_process_stops() -> None:
    stopping = asyncio.Event()
    task = asyncio.create_task(serve_metrics("").run(stopping))
    done, _ = await asyncio.wait({task}, timeout=0)
    stopping.set()
    await task

    assert not done


async def test_an_address_that_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await serve_metrics(f"127.0.0.1:{taken.getsockname()[1]}").run(asyncio.Event())


def test_every_metric_carries_the_systems_name() -> None:
    ours = {name for name in vars(metrics) if name.isupper() and not name.startswith("_")}
    named = {metric.name for metric in REGISTRY.collect() if metric.name.startswith("tessera_")}

    assert len(ours) == len(named)


@pytest.mark.parametrize(("given", "told"), [("1.2.3", "1.2.3"), ("", version("tessera"))])
def test_a_process_tells_what_it_is_built_from(given: str, told: str) -> None:
    metrics.tell_build("profile", given)
    labels = {"service": "profile", "version": told, "python": platform.python_version()}

    assert 1 == REGISTRY.get_sample_value("tessera_build_info", labels)
