"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples everywhere and every time: a test that fails by luck of the draw is told to nobody who could mend it.
# HYPOTHESIS_PROFILE=default draws at random.
settings.register_profile("steady", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Real recordings, which are not part of this repository."""
    root = Path(os.environ.get("BIOSIG_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if root.is_dir():
        return root.resolve()
    reason = f"no real recordings: set BIOSIG_DATA (looked in {root})"
    if os.environ.get("BIOSIG_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
