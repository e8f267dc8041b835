"""The picture of a waveform: well-formed, the same twice, and all resolutions on one axis of time."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from biosig_mtl import plots_waveform
from biosig_mtl.types import F64

WAVE = 90 + 20 * np.sin(2 * np.pi * np.arange(100) / 25)


def drawn() -> str:
    return plots_waveform.waveforms(WAVE, [WAVE[::4] + 1, WAVE + 1], 8.0, "mmHg")


def test_it_is_well_formed_scales_and_comes_out_the_same_twice() -> None:
    svg = drawn()
    assert ElementTree.fromstring(svg).get("width") == "100%"
    assert svg == drawn()


def test_it_names_every_resolution_the_finest_first() -> None:
    texts = [str(e.text) for e in ElementTree.fromstring(drawn()).iter() if e.tag.endswith("text")]
    told = [text for text in texts if text.startswith(("reference", "estimate"))]
    assert told == ["reference", "estimate, 100 points", "estimate, 25 points"]
    assert {"seconds", "mmHg"} <= set(texts)


@pytest.mark.parametrize("reference", [np.full(100, np.nan), WAVE])
def test_unknown_stretches_and_single_estimates_are_drawn_without(reference: F64) -> None:
    holes = WAVE.copy()
    holes[10:20] = np.nan
    for estimates in ([], [holes], [holes, WAVE[::2], WAVE[::5], WAVE[::10]]):
        svg = plots_waveform.waveforms(reference, estimates, 8.0, "mmHg")
        assert "nan" not in svg.lower()


def test_a_window_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="need length_s > 0, got 0"):
        plots_waveform.waveforms(WAVE, [], 0.0, "mmHg")
