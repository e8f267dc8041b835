"""Data sets of emotion and stress: one module a set, for those whose layout no general reader knows."""
