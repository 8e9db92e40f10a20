"""One log line format for structlog and for the standard library's loggers.

A line is a JSON object with `timestamp` (ISO 8601, UTC), `level`, `event`, `logger` and `service`,
then whatever is bound to the context or given with the event; `exception` holds a traceback.
"""

import logging
import sys
from typing import Literal

import orjson
import structlog
from google.protobuf.message import Message
from structlog.typing import EventDict, Processor, WrappedLogger

from libs.repeats import Repeats

# aiokafka writes 20 to 90 error lines a second while a broker is gone; the others retry as busily.
NOISY_LOGGERS = ("aiokafka", "grpc", "opentelemetry", "urllib3")


class RateLimit(logging.Filter):
    """Lets a noisy logger repeat a message template once in some seconds.

    The line that passes carries the number of those that did not as `record.suppressed`.
    """

    def __init__(self, loggers: tuple[str, ...] = NOISY_LOGGERS, repeats: Repeats | None = None) -> None:
        super().__init__()
        self._loggers = loggers
        self._repeats = Repeats() if repeats is None else repeats

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self._loggers:
            return True
        suppressed = self._repeats.held_back((record.name, record.levelno, str(record.msg)))
        if suppressed is None:
            return False
        record.suppressed = suppressed
        return True


class _ToStructlog(logging.Handler):
    """Hands the standard library's records to structlog, so that there is one renderer."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            values: dict[str, object] = {}
            if suppressed := getattr(record, "suppressed", 0):
                values["suppressed"] = suppressed
            if record.exc_info:
                values["exc_info"] = record.exc_info
            structlog.get_logger(record.name).log(record.levelno, record.getMessage(), **values)
        except Exception:
            self.handleError(record)


class _Stderr:
    """Writes rendered lines to standard error, and keeps the logger's name for the renderer."""

    def __init__(self, *names: str) -> None:
        self.name = names[0] if names else "root"

    def msg(self, line: str) -> None:
        # One write a line, so that lines of several threads do not mix.
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    log = debug = info = warning = error = critical = msg


def _named(service: str) -> Processor:
    def add_names(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
        event.setdefault("logger", logger.name)
        event["service"] = service
        return event

    return add_names


def _without_content(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A message of a contract may hold personal data or a secret: a line has its type and no more."""
    return {name: _type_of_message(value) for name, value in event.items()}


def _type_of_message(value: object) -> object:
    if isinstance(value, Message):
        return value.DESCRIPTOR.full_name
    if isinstance(value, dict):
        return {name: _type_of_message(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_type_of_message(inner) for inner in value]
    return value


def _json(value: object, **_: object) -> str:
    return orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def _renderers(as_json: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    # Plain tracebacks: rich ones print local variables, which may hold personal data.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]


def configure_logs(
    service: str,
    format: Literal["auto", "json", "console"] = "auto",  # noqa: A002 - the setting's name
    level: str = "info",
) -> None:
    """Send all logs to standard error, as JSON lines or for people.

    `auto` is for people where standard error is a terminal. `level` is the least that is logged:
    `debug`, `info`, `warning` or `error`. Libraries that configure logging by themselves must be
    told not to (`uvicorn.Config(log_config=None)`).
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _named(service),
            _without_content,
            structlog.processors.StackInfoRenderer(),
            *_renderers(as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,
    )
    handler = _ToStructlog()
    handler.addFilter(RateLimit())
    logging.basicConfig(handlers=[handler], level=least, force=True)
