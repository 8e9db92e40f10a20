"""Keeps templates."""
