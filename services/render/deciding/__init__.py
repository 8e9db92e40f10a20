"""Decides, for each entry and trigger that starts a campaign, whether there is a message."""
