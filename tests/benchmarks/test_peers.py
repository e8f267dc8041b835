"""The adapters: ours is the shipped recipe, and a peer that fails is told in one line and stops nothing."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl import signal
from biosig_mtl.types import F64
from tests.benchmarks import inputs, peers, scoring


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
def test_ours_finds_the_beats_of_a_clean_minute(kind: str) -> None:
    part = inputs.every(None, kind)["simulated clean"][0]
    samples, truth_s = part.samples[: round(60 * part.fs)], part.truth_s[part.truth_s < 59]
    found = peers.find({"ecg": peers.ECG, "ppg": peers.PPG}[kind], peers.OURS, samples, part.fs)
    assert scoring.score(truth_s, found).f1 > 0.98


def test_our_steps_are_those_of_the_shipped_recipe() -> None:
    kinds = [type(step) for step in peers.our_steps("ppg", quality=True, fiducials=True)]
    assert kinds == [signal.Bandpass, signal.DetectBeats, signal.DetectFiducials, signal.AssessQuality]
    assert [type(step) for step in peers.our_steps("ecg")] == [signal.Bandpass, signal.DetectBeats]


def test_a_peer_that_fails_is_told_in_one_line() -> None:
    def fails(_samples: F64, _fs: float) -> F64:
        print("noise of a peer")  # noqa: T201
        raise IndexError("list index\nout of range")

    with pytest.raises(peers.PeerError, match=r"^IndexError: list index$"):
        peers.find({"wfdb fails": fails}, "wfdb fails", np.zeros(10), 125.0)


def test_a_peer_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PACKAGES, "heartpy", "no_such_module")
    assert "heartpy is not installed" in peers.missing("heartpy")
    assert peers.missing(peers.OURS) == ""
    with pytest.raises(peers.PeerError, match="not installed"):
        peers.find(peers.ECG, "heartpy", np.zeros(1000), 125.0)
    assert "heartpy" not in peers.versions()


def test_what_a_peer_returns_is_sorted_and_finite() -> None:
    def odd(_samples: F64, _fs: float) -> F64:
        return np.array([3.0, np.nan, 1.0, 1.0])

    np.testing.assert_array_equal(peers.find({"wfdb odd": odd}, "wfdb odd", np.zeros(10), 125.0), [1.0, 3.0])
