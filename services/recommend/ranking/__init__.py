"""Ranking: which products somebody may like."""
