"""Reads files of old events: every row becomes an event, or is told with its line and the reason."""
