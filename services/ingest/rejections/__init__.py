"""Events that were not accepted: kept for a while, a bounded number of each source, and shown."""
