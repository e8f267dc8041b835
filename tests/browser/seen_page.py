"""A page as somebody sees it: what it loads, what it complains of, whether it fits the screen and can be read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

WIDE, NARROW = (1440, 900), (390, 844)
LEAST_PX = 12

# Text that is seen: its size on the screen, in an SVG after scaling.
SMALL = """([least, drawn]) => {
  const small = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), parent = walk.currentNode.parentElement;
    if (!text || !parent.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    if (parent.closest("script, style, noscript, option")) continue;
    let size = parseFloat(getComputedStyle(parent).fontSize);
    const svg = parent.closest("svg");
    if (svg && parent.getScreenCTM) size *= Math.hypot(parent.getScreenCTM().a, parent.getScreenCTM().b);
    if (size < (svg ? drawn : least) - 0.05) small.push(`${text.slice(0, 30)} (${size.toFixed(1)} px)`);
  }
  return small;
}"""

# Whether a canvas holds more than one colour.
DRAWN = """(id) => {
  const canvas = document.getElementById(id), c = canvas.getContext("2d");
  const seen = new Set(new Uint32Array(c.getImageData(0, 0, canvas.width, canvas.height).data.buffer));
  return seen.size;
}"""


class Seen:
    """A page opened in a browser, with all that goes wrong on it."""

    def __init__(self, browser: Any, size: tuple[int, int] = WIDE, **wishes: Any) -> None:
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **wishes)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(f"console: {m.text}") if m.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda e: self.wrong.append(f"error: {e}"))
        # What the page itself ended (its line of events, after the last word) has not failed.
        self.page.on(
            "requestfailed", lambda r: self.wrong.append(f"failed: {r.url}") if r.failure != "net::ERR_ABORTED" else None
        )
        self.page.on("request", lambda r: self.asked.append(r.url))

    def open(self, where: str | Path) -> None:
        """Go to an address or a file."""
        self.page.goto(where.as_uri() if isinstance(where, Path) else where, wait_until="domcontentloaded")

    def until(self, expression: str, timeout_s: float = 20.0) -> None:
        """Wait until an expression holds; asked from outside, since the page's own policy forbids to evaluate text in it."""
        end = time.monotonic() + timeout_s
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"not within {timeout_s:g} s: {expression[:200]}"
            self.page.wait_for_timeout(50)

    def outside(self) -> list[str]:
        """Return what was asked of others than this machine."""
        return [url for url in self.asked if urlsplit(url).hostname not in {None, "", "127.0.0.1"}]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the screen."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    def small(self, drawn: float = LEAST_PX) -> list[str]:
        """Return text that is too small to read; ``drawn`` is the least size in drawings."""
        found: list[str] = self.page.evaluate(SMALL, [LEAST_PX, drawn])
        return found

    def colours(self, canvas: str) -> int:
        """Return how many colours a canvas shows."""
        count: int = self.page.evaluate(DRAWN, canvas)
        return count

    def close(self) -> None:
        """Close it."""
        self.context.close()
