"""Keeps campaigns."""
