"""Keeps messages, and hands them to connectors."""
