"""CPU seconds of training: Split 'n' Merge beside hard sharing on the same encoder, and convolutions beside plain Conv1d.

Everything goes through `fit`, so that optimiser, clipping, the running average and the independence term are counted. No row is
a claim of equal accuracy; that the compared networks compute the same numbers is tested before they are timed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.models.blocks import ResidualBlock
from biosig_mtl.models.encoders import ConvEncoder
from biosig_mtl.training.batches import Scaler, spec_of
from biosig_mtl.training.loop import TrainingData, fit
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import Fold, Track, WindowTable
from tests.benchmarks.book import Book, Speed
from tests.benchmarks.timing import cpu_medians

pytestmark = pytest.mark.benchmark

RUNS = 7
WINDOWS = 128
FAMILIES = {"pulse": 20, "hr": 8, "ppg": 6, "person": 6}
CAP = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
# Channels and samples of the waveform, rate, and samples of a 14-channel EEG track.
CASES: dict[str, tuple[int, int, float, int]] = {
    "3 channels of 261 samples, 40 features": (3, 261, 125.0, 0),
    "4 channels of 1,000 samples, 40 features": (4, 1000, 125.0, 0),
    "14 EEG electrodes of 512 samples, 40 features": (0, 0, 128.0, 512),
    "40 features": (0, 0, 125.0, 0),
}


def table(channels: int, samples: int, fs: float, eeg: int) -> WindowTable:
    """Return noise in the form of a window table."""
    rng = np.random.default_rng(0)
    names = tuple(f"{family}.f{i}" for family, count in FAMILIES.items() for i in range(count))
    tracks = {"eeg": Track(CAP, fs, rng.normal(size=(WINDOWS, len(CAP), eeg)).astype(np.float32))} if eeg else {}
    return WindowTable(
        pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(WINDOWS // 4)], 4)}),
        rng.normal(size=(WINDOWS, len(names))).astype(np.float32),
        names,
        rng.normal(size=(WINDOWS, channels, samples)).astype(np.float32),
        tuple(f"c{i}" for i in range(channels)),
        fs,
        (100 + 10 * rng.normal(size=(WINDOWS, 2))).astype(np.float32),
        ("sbp", "dbp"),
        tracks,
    )


def network(name: str, windows: WindowTable, **words: Any) -> nn.Module:
    torch.manual_seed(0)
    return models.build(name, models.MODELS[name].settings(**words), spec_of(windows))


class Epochs:
    """Trains a network for two epochs each time it is called."""

    def __init__(self, model: nn.Module, windows: WindowTable, **how: Any) -> None:
        fold = Fold(train=np.arange(WINDOWS), validation=np.arange(0), test=np.arange(0))
        self.model, self.data = model, TrainingData(windows, fold, Scaler.fit(windows, fold.train))
        self.settings = TrainingSettings(epochs=2, mi_ramp_epochs=0, skip_start="zero", **how)

    def __call__(self) -> object:
        return fit(self.model, self.data, self.settings, 0)


class PlainConv(nn.Module):
    """The encoder as it would be written without a thought: Conv1d over (B, C, L), with the weights of another one."""

    def __init__(self, made: ConvEncoder) -> None:
        super().__init__()
        self.stem, self.blocks, self.norm = made.stem, made.blocks, made.norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            x = torch.relu(x + block.body(x))
        tokens: Tensor = self.norm(x.transpose(1, 2))
        return tokens


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("case", CASES)
def test_split_merge_beside_hard_sharing(case: str, book: Book) -> None:
    """The price of splitting; the target was 1.5 times the price of hard sharing."""
    windows = table(*CASES[case])
    spent = cpu_medians({name: Epochs(network(name, windows), windows) for name in ("split_merge", "hard_sharing")}, RUNS)
    what = f"training of split_merge: {case}"
    hours = 2 * WINDOWS / 3600  # one second a window, as features alone have no length
    book.speed.append(
        Speed("network_split", what, "hard_sharing, same encoder", hours, spent["split_merge"], spent["hard_sharing"], RUNS)
    )


@pytest.mark.parametrize(("samples", "width", "stride"), [(1000, 32, 32), (1250, 128, 16)])
def test_channels_last_beside_plain_conv1d(samples: int, width: int, stride: int, book: Book) -> None:
    """The same network, weights and mathematics; only layout and precision differ."""
    windows = table(3, samples, 125.0, 0)
    words = {"width": width, "stride": stride}
    made = {kind: network("hard_sharing", windows, **words) for kind in ("plain", "last", "bf16")}
    tokens: Any = made["plain"].tokens
    encoder = tokens.waveform.encoder
    x = torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(PlainConv(encoder).eval()(x), encoder.eval()(x), atol=1e-5)
    tokens.waveform.encoder = PlainConv(encoder).train()
    jobs = {kind: Epochs(model, windows, amp="bf16" if kind == "bf16" else "off") for kind, model in made.items()}
    spent = cpu_medians(jobs, 3 if width > 64 else RUNS)
    hours = 2 * WINDOWS / 3600
    for kind, told in (("last", "channels last, float32"), ("bf16", "channels last, bfloat16")):
        what = f"training of hard_sharing, width {width}, 3 channels of {samples:,} samples: {told}"
        book.speed.append(Speed("network_conv", what, "Conv1d, float32", hours, spent[kind], spent["plain"], RUNS))
