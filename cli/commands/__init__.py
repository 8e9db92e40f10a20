"""The commands of `tessera`, a module for each group."""
