"""Where events come from: sources, their settings and their keys."""
