"""The main job from end to end: a shop's history in, messages out, and a report of both."""
