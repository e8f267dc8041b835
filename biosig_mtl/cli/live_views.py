"""Who looks on at a live recording: the table, the terminal or a pipe, and the page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biosig_mtl.live import About, Page
    from biosig_mtl.live.watching import Viewer


@dataclass(frozen=True)
class Views:
    """Who looks on, and the page where there is one."""

    viewers: tuple[Viewer, ...]
    page: Page | None


@contextmanager
def views(about: About, out: Path | None, page: int | None, host: str, *, plain: bool) -> Iterator[Views]:
    """Open the table and the page, and choose between terminal and rows; close them afterwards.

    Raises
    ------
    RecipeError, DataError
        The table cannot be added to, or the port is taken.
    """
    from biosig_mtl.live import Hub, Page, Table
    from biosig_mtl.live.viewers import HubViewer, TableViewer

    classes = {name: len(words) for name, words in about.classes.items()}
    made: list[Any] = []
    places: list[str] = []
    with ExitStack() as held:
        shown = None
        if out is not None:
            table = Table(out, about.targets, classes)
            held.callback(table.close)
            made.append(TableViewer(table))
            places.append(table.note or f"{out}: every estimate is added as it comes")
        if page is not None:
            hub = Hub()
            shown = Page(hub, page, host)
            held.callback(shown.close)
            made.append(HubViewer(hub))
            places.append(f"page: {shown.url}")
            if not shown.private:
                places.append(f"warning: whoever reaches {host}:{shown.port} can watch; there is no password and no encryption")
        made.append(_screen(tuple(places), plain=plain))
        yield Views(tuple(made), shown)


def _screen(places: tuple[str, ...], *, plain: bool) -> Viewer:
    from biosig_mtl.live.terminal import TerminalViewer
    from biosig_mtl.live.viewers import PlainViewer

    if sys.stdout.isatty() and not plain:
        return TerminalViewer(places=places)
    for place in places:
        sys.stderr.write(f"{place}\n")
    sys.stderr.flush()
    return PlainViewer(sys.stdout, sys.stderr)
