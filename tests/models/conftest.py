"""Small inputs for networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from biosig_mtl.types import Batch, Head, InputSpec, TrackSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_spec() -> MakeSpec:
    def make(targets: int = 2, samples: int = 128, channels: int = 2, features: int = 6) -> InputSpec:
        names = ("sbp", "dbp", "map", "pp", "hr", "co")[:targets]
        families = ("pulse", "hr", "person")
        columns = tuple(f"{families[i % 3]}.f{i}" for i in range(features))
        return InputSpec(tuple(f"c{i}" for i in range(channels)), samples, columns, names)

    return make


@pytest.fixture
def make_affect_spec() -> MakeSpec:
    """Return a maker of inputs of several modalities."""

    def make(
        electrodes: tuple[str, ...] = ("F3", "F4", "Cz", "O1"), heads: tuple[Head, ...] = (), targets: int = 2
    ) -> InputSpec:
        tracks = (TrackSpec("eeg", electrodes, 128, 64.0), TrackSpec("eda", ("eda",), 40, 4.0))
        features = (*(f"eeg_de.{band}.{name}" for name in electrodes for band in ("alpha", "beta")), "eda.scl", "hr.mean")
        return InputSpec((), 0, features, ("valence", "arousal", "stress")[:targets], tracks, heads)

    return make


@pytest.fixture
def make_batch() -> MakeBatch:
    def make(spec: InputSpec, size: int = 12, seed: int = 0) -> Batch:
        rng = torch.Generator().manual_seed(seed)
        return Batch(
            torch.randn(size, len(spec.waveform_channels), spec.samples, generator=rng),
            torch.randn(size, len(spec.features), generator=rng),
            torch.rand(size, len(spec.features), generator=rng) < 0.2,
            torch.randn(size, len(spec.targets), generator=rng),
            torch.ones(size),
            {t.name: torch.randn(size, len(t.channels), t.samples, generator=rng) for t in spec.tracks},
            {t.name: torch.ones(size, len(t.channels), dtype=torch.bool) for t in spec.tracks},
        )

    return make
