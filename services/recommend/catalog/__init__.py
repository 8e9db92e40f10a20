"""The catalog: what the shop's own servers say of its products."""
