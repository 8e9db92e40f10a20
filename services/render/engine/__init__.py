"""Liquid templates, rendered in processes of their own so that none can hang the service."""

from services.render.engine.pool import Engine
from services.render.engine.text import text_template

__all__ = ["Engine", "text_template"]
