"""Batches, losses, independence of splits, the loop, checkpoints."""
