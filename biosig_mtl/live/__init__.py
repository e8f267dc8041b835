"""A recording that is being made: where it comes from, who looks on, and what is written down."""

from biosig_mtl.live.hub import Hub
from biosig_mtl.live.lines import LineSettings, LineSource
from biosig_mtl.live.lsl import LslSettings, LslSource
from biosig_mtl.live.page import Page
from biosig_mtl.live.queues import QueueSource
from biosig_mtl.live.sources import LiveSource, Pace, ReplaySource
from biosig_mtl.live.table import Table
from biosig_mtl.live.watching import About, Watch

__all__ = [
    "About",
    "Hub",
    "LineSettings",
    "LineSource",
    "LiveSource",
    "LslSettings",
    "LslSource",
    "Pace",
    "Page",
    "QueueSource",
    "ReplaySource",
    "Table",
    "Watch",
]
