"""Interactions: what people do with products, kept from profile's stream."""
