"""Honest joint estimates from clinical and wearable recordings."""
