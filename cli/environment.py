"""What each service of a local Tessera is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cli import access
from cli.home import Home
from cli.ports import SERVICES, Ports, address
from cli.secret_files import SecretFiles

# Who asks whom by gRPC.
ASKS = {"segment": ("profile",), "recommend": ("profile",), "render": ("profile", "segment", "recommend")}


@dataclass(frozen=True, slots=True)
class Environment:
    """Builds the environments of the services from one's own."""

    home: Home
    ports: Ports
    secrets: SecretFiles
    given: Mapping[str, str]
    """The environment of the user: settings that are not ours to make pass through."""
    traced: bool = False
    bytecode: str = ""
    """Where Python keeps compiled modules, where the user's environment forbids it beside the sources."""
    database_urls: Mapping[str, str] = field(default_factory=dict)
    """By service; empty where the user's own PostgreSQL is used."""

    def of(self, service: str) -> dict[str, str]:
        """One service's environment."""
        ours = {
            "GRPC_ADDRESS": address(self.ports.grpc[service]),
            "METRICS_ADDRESS": address(self.ports.metrics[service]),
            "API_KEYS_FILE": str(self.home.api_keys),
            "LOG_FORMAT": "json",
            "UNSUBSCRIBE_KEYS": self.secrets.get("unsubscribe-key"),
            "PUBLIC_URL": f"http://{address(self.ports.http)}",
        }
        if service == "ingest":
            ours["HTTP_ADDRESS"] = address(self.ports.http)
        if service in self.database_urls:
            ours["DATABASE_URL"] = self.database_urls[service]
        if service in ASKS:
            ours["SERVICE_API_KEY"] = self.secrets.get(access.key_name(service))
        for asked in ASKS.get(service, ()):
            ours[f"{asked.upper()}_ADDRESS"] = address(self.ports.grpc[asked])
        if self.traced:
            ours["TRACE_ENDPOINT"] = self.home.spans.as_uri()
            ours["TRACE_RATIO"] = "0"
            if service == "ingest":
                ours["TRACE_PUBLIC"] = "true"
        if self.bytecode:
            ours["PYTHONPYCACHEPREFIX"] = self.bytecode
        return {**self._passed_on(service, ours), **ours}

    def _passed_on(self, service: str, ours: Mapping[str, str]) -> dict[str, str]:
        # A value under the service's prefix would win over ours; an address under its own prefix is
        # what its callers are told, which it does not know and would refuse.
        hidden = {f"{service.upper()}_{name}" for name in ours}
        hidden |= {f"{name.upper()}_ADDRESS" for name in SERVICES}
        if self.bytecode:
            hidden.add("PYTHONDONTWRITEBYTECODE")
        return {name: value for name, value in self.given.items() if name not in hidden}


def own_database(given: Mapping[str, str]) -> str:
    """The PostgreSQL that the user's environment names, for administration; empty for the embedded one."""
    names = ["DATABASE_URL", *(f"{service.upper()}_DATABASE_URL" for service in SERVICES)]
    return next((given[name] for name in names if given.get(name)), "")
