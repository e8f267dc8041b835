"""One real browser for all pages; without one the tests are left out, or fail where `BIOSIG_REQUIRE_BROWSER` is 1."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

# Nothing of a browser that asks the network by itself.
QUIET = (
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--no-first-run",
    "--no-sandbox",
)


def _without(reason: str) -> None:
    if os.environ.get("BIOSIG_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium of this machine, driven by playwright."""
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
    )
    if found is None:
        _without("no browser: install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _without("no playwright: pip install playwright (its own browsers are not needed)")
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=found, args=list(QUIET))
        yield made
        made.close()
