"""Logs, metrics and traces: how a running service is seen from outside."""

from libs.observability import metrics, traces
from libs.observability.logs import configure_logs
from libs.observability.metrics import serve_metrics
from libs.observability.traces import configure_traces, stop_traces

__all__ = ["configure_logs", "configure_traces", "metrics", "serve_metrics", "stop_traces", "traces"]
