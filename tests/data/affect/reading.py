"""What the tests of all data sets ask: list a folder by its manifest, and read a record in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.manifest import entries, load
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import Entry, Record


def listed(name: str, root: Path, **options: Any) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return the entries of a set by record, and why others were rejected."""
    manifest = load(name)
    found = entries(replace(manifest, options={**manifest.options, **options}), root)
    return {e.record: e for e in found.entries}, {r.record: r.reason for r in found.rejected}


def labels(entry: Entry | Record) -> dict[str, float]:
    """Return the ratings of a trial by name."""
    return {label.name: label.value for label in entry.labels}


def assert_parts_join(entry: Entry, cut_s: float, stop_s: float) -> None:
    """Check that read(0, a) and read(a, b) joined are read(0, b)."""
    source = open_source(entry)
    whole, first, second = source.read(0, stop_s), source.read(0, cut_s), source.read(cut_s, stop_s)
    assert set(whole.channels) == set(source.channels)
    for name, info in source.channels.items():
        joined = np.concatenate([first.channel(name).samples, second.channel(name).samples])
        np.testing.assert_array_equal(joined, whole.channel(name).samples)
        assert whole.channel(name).samples.dtype == np.float32
        assert whole.channel(name).samples.size == round((whole.duration_s) * info.fs)
