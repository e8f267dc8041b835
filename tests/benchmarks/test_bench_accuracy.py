"""Beats of ours and of each peer beside the truth, on real and on simulated recordings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks import inputs, peers, scoring
from tests.benchmarks.book import Accuracy, Book

pytestmark = pytest.mark.benchmark

TABLES = {"ecg": peers.ECG, "ppg": peers.PPG}


@pytest.fixture(scope="module", params=["ecg", "ppg"])
def sets(request: pytest.FixtureRequest, real_root: Path | None) -> tuple[str, dict[str, inputs.Set]]:
    """All sets of a kind; the truth of pulses needs two peers."""
    kind = str(request.param)
    try:
        return kind, inputs.every(real_root, kind)
    except peers.PeerError as error:
        sys.stdout.write(f"\nonly simulated {kind}: {error}\n")
        return kind, inputs.every(None, kind)


def test_beats_beside_the_truth(sets: tuple[str, dict[str, inputs.Set]], book: Book) -> None:
    kind, named = sets
    for method in TABLES[kind]:
        for name, parts in named.items():
            book.accuracy.append(tried(kind, method, name, parts))
    mine = [row for row in book.accuracy if row.kind == kind and row.method == peers.OURS]
    # Told, not asserted against the peers (`Book.claims`); what follows catches only a detector that is broken.
    assert len(mine) == len(named)
    assert all(row.score is not None and row.score.f1 > 0.8 for row in mine)


def tried(kind: str, method: str, name: str, parts: inputs.Set) -> Accuracy:
    """Return the score of a method on a set; a peer that fails on one recording of it has failed."""
    try:
        pairs = [(part.truth_s, peers.find(TABLES[kind], method, part.samples, part.fs)) for part in parts]
    except peers.PeerError as error:
        return Accuracy(kind, method, name, None, str(error))
    return Accuracy(kind, method, name, scoring.pooled(pairs, parts[0].lag_between_s))
