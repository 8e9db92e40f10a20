"""Trains models: a process of its own, whose libraries never load where calls are answered."""
