"""Metrics, standards, intervals, the audit and the scores."""
