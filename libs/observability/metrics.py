"""Every Prometheus metric of the system, each with its kind, and the server that shows them.

Labels are few and bounded: never an id of a person, a key, or free text.
"""

import asyncio
import platform
from dataclasses import dataclass
from importlib import metadata

import structlog
from prometheus_client import Counter, Gauge, Histogram, Info, start_http_server

log = structlog.get_logger(__name__)

# Info: which version runs. One line a process, with value 1: for joining other metrics with it.
BUILD = Info("tessera_build", "The service and the versions that run.")

_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LATENESS_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)

# Counter: gRPC calls that ended, by method (`tessera.profile.v1.ProfileService/GetProfile`) and status.
RPC_CALLS = Counter("tessera_rpc_calls", "gRPC calls that ended.", ["method", "code"])
# Histogram: how long a call took, streams from first to last message.
RPC_SECONDS = Histogram("tessera_rpc_seconds", "Seconds a gRPC call took.", ["method"], buckets=_CALL_SECONDS)

# Counter: records that a consumer group has handled, dead letters among them.
CONSUMER_RECORDS = Counter("tessera_consumer_records", "Records handled.", ["group", "topic"])
# Counter: batches, which are transactions, that a consumer group has committed.
CONSUMER_BATCHES = Counter("tessera_consumer_batches", "Batches committed.", ["group", "topic"])
# Histogram: from the batch's fetch to its commit, retries among it.
CONSUMER_BATCH_SECONDS = Histogram(
    "tessera_consumer_batch_seconds", "Seconds a batch took.", ["group", "topic"], buckets=_BATCH_SECONDS
)
# Gauge: records between a group's next offset and the partition's end.
CONSUMER_LAG = Gauge("tessera_consumer_lag", "Records not yet handled.", ["group", "topic", "partition"])
# Counter: records that could not be handled and went to the dead-letter topic. Each is a defect of ours.
DEAD_LETTERS = Counter("tessera_dead_letters", "Records that could not be handled.", ["group", "topic"])
# Gauge: partitions that stopped after a burst of dead letters, and wait for a person.
STOPPED_PARTITIONS = Gauge("tessera_stopped_partitions", "Partitions that stopped.", ["group", "topic"])
# Counter: records of a type that their topic does not declare: a writer of another version, or a stranger.
UNKNOWN_RECORDS = Counter("tessera_unknown_records", "Records of an unknown type.", ["group", "topic"])
# Counter: records that the log dropped before a group had read them: its partition stops there.
LOST_RECORDS = Counter("tessera_lost_records", "Records dropped before they were read.", ["group", "topic"])
# Gauge: on the log in PostgreSQL, the age of the oldest record that a declared reader has not read.
UNREAD_SECONDS = Gauge("tessera_unread_seconds", "Age of the oldest unread record.", ["topic"])
# Counter: batches rolled back because another owner had moved the offset.
OFFSET_CONFLICTS = Counter("tessera_offset_conflicts", "Batches lost to another owner.", ["group", "topic"])
# Counter: batches tried again after a transient failure.
RETRIES = Counter("tessera_retries", "Batches tried again.", ["group", "topic"])

# Counter: outbox records that the relay has shipped to Kafka.
RELAY_RECORDS = Counter("tessera_relay_records", "Outbox records shipped.", ["topic"])
# Gauge: outbox records that wait for the relay.
RELAY_LAG = Gauge("tessera_relay_lag", "Outbox records not yet shipped.", ["topic"])

# Counter: events stored, by the way they came: `collect`, `http`, `webhook` or `import`.
EVENTS_ACCEPTED = Counter("tessera_events_accepted", "Events stored.", ["path"])
# Counter: events refused at the edge, by the way they came.
EVENTS_REJECTED = Counter("tessera_events_rejected", "Events refused.", ["path"])
# Counter: parts of stored events that were left out, such as an address that is none; each is told.
EVENT_WARNINGS = Counter("tessera_event_warnings", "Parts of stored events that were left out.")
# Counter: grants of consent beyond an event's limit. Denials are never dropped.
PURPOSES_DROPPED = Counter("tessera_purposes_dropped", "Grants of consent beyond an event's limit.")
# Counter: rejected events that are no longer kept, because their source caused too many newer ones.
REJECTIONS_DISPLACED = Counter("tessera_rejections_displaced", "Rejected events that made room for newer.")
# Counter: profiles that were absorbed by another.
PROFILES_MERGED = Counter("tessera_profiles_merged", "Profiles absorbed by another.")
# Counter: people whose state a service could not compute, each time: they are listed and tried again later.
PROFILES_SET_ASIDE = Counter("tessera_profiles_set_aside", "People set aside.", ["service"])
# Counter: what had no room in its profile: `traits`, `identifiers`, `purposes` (a refusal always has).
PROFILE_DROPPED = Counter("tessera_profile_dropped", "Left out of profiles by their limits.", ["what"])
# Counter: events that name nobody: blocked values, and addresses and devices of several people.
EVENTS_UNASSIGNED = Counter("tessera_events_unassigned", "Events that name nobody.")
# Counter: segment entries and exits, and triggers: `entered`, `exited`, `triggered`, `withdrawn`.
TRANSITIONS = Counter("tessera_transitions", "Segment entries, exits and triggers.", ["kind"])
# Histogram: from a timer's due time to its firing. Behind a backlog timers wait.
TIMER_LATENESS = Histogram(
    "tessera_timer_lateness_seconds", "Seconds from a timer's due time.", buckets=_LATENESS_SECONDS
)
# Counter: decisions of render by outcome: rendered, or the reason for sending nothing.
MESSAGES = Counter("tessera_messages", "Messages and decisions not to send.", ["outcome"])
# Counter: what became of hand-outs to connectors: `acknowledged`, `retried`, `rejected`, `expired`.
DELIVERIES = Counter("tessera_deliveries", "Messages handed to connectors, by result.", ["result"])
# Gauge: the version of each kind of model that this replica serves.
MODEL_VERSION = Gauge("tessera_model_version", "Version of the model in use.", ["model"])


def tell_build(service: str, version: str = "") -> None:
    """Say which service and which versions this process runs; `version` where it is no installed package."""
    try:
        told = version or metadata.version("tessera")
    except metadata.PackageNotFoundError:
        told = "unknown"
    BUILD.info({"service": service, "version": told, "python": platform.python_version()})


@dataclass
class MetricsServer:
    """Shows the metrics at `http://host:port/metrics` while it runs; nowhere for an empty address."""

    address: str
    """`host:port`; with port 0, the real one once it runs."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set. Raises `OSError` where the address is taken."""
        if not self.address:
            await stopping.wait()
            return
        host, _, port = self.address.rpartition(":")
        # A thread of its own, so that a loop that no longer turns can still be looked into.
        server, thread = start_http_server(int(port), host.strip("[]"))
        self.address = f"{host}:{server.server_port}"
        log.info("metrics served", address=self.address)
        try:
            await stopping.wait()
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()


def serve_metrics(address: str) -> MetricsServer:
    """Return the component that serves /metrics on `address`, a `host:port` or empty for nowhere."""
    return MetricsServer(address)
