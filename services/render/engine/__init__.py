"""Fills templates, in processes of their own."""
