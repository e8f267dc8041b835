"""Manifests, readers, downloads and the simulated cohort."""
