"""Small inputs for networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from biosig_mtl.types import Batch, InputSpec

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
def make_batch() -> MakeBatch:
    def make(spec: InputSpec, size: int = 12, seed: int = 0) -> Batch:
        rng = torch.Generator().manual_seed(seed)
        return Batch(
            torch.randn(size, len(spec.waveform_channels), spec.samples, generator=rng),
            torch.randn(size, len(spec.features), generator=rng),
            torch.rand(size, len(spec.features), generator=rng) < 0.2,
            torch.randn(size, len(spec.targets), generator=rng),
            torch.ones(size),
        )

    return make
