"""Liquid templates, rendered in processes of their own so that none can hang the service."""
