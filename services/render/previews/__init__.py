"""Shows what templates and campaigns would say, and sends it to those who write them."""
