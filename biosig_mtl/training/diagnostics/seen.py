"""What the splits of a network do with windows that it did not learn from, gathered over batches as plain arrays.

Two operators take a split away, because either alone can mislead: zeros may be something that the network never met, and
another window's split is something that it knows but that belongs to somebody else (which two is our choice). Masks of
splitters that never learned show what a mask looks like without any learning (Adebayo et al., Sanity Checks for Saliency Maps,
NeurIPS 2018: the model parameter randomisation test; we randomise the splitter alone and keep the embedding, so that only the
masks differ).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_mtl.training.batches import BatchSource
from biosig_mtl.training.prediction import device_of, moved, source_for
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import F32, F64, I64, Batch, Output, WindowTable

REPORT_ROWS = 1024  # uHSIC needs the square of this
BATCH = 256
FRESH = 2  # splitters that never learned


class SplittingNetwork(Protocol):
    """A network whose splits can be taken away one by one."""

    def embed(self, batch: Batch) -> Tensor:
        """Return the embedding."""

    def split(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks and splits."""

    def answer(self, masks: Tensor, splits: Tensor, batch: Batch) -> Output:
        """Return predictions of given splits."""


@dataclass(frozen=True)
class Part:
    """Tokens ``start`` to ``stop`` of the row: time steps of the waveform or of a track, or the one token of a family.

    ``columns`` are the features of a family; ``before_s`` is the time of each token of a track before the window's end.
    """

    kind: Literal["waveform", "track", "family"]
    name: str
    start: int
    stop: int
    columns: tuple[int, ...] = ()
    before_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What was seen of n windows, K splits (the shared one, if any, first), N tokens of width D and T targets.

    Attributes
    ----------
    rows, subject
        Row numbers in the table (n,), rising, and whose windows they are (n,).
    parts
        What the tokens are; empty where the network does not say.
    profile
        Masks, averaged over features, (n, K, N); NaN where a window does not have what a token stands for.
    mask_mean, mask_std
        Mean of each mask, and the spread of its mean over windows, (K,).
    mask_spread
        Standard deviation of each mask over windows, tokens and features, (K,): near 0 for a mask that selects nothing.
    pooled
        Token means of the splits, (K, n, D).
    gates
        Share of the shared split (n, T), None without gates.
    errors, zeros, shuffled
        Errors in scaled units, (n, T); with a split replaced by zeros, and by that of another window, both (K, n, T). NaN where
        a target is unknown.
    fresh
        Correlation of each trained mask with that of a splitter that never learned, over windows, tokens and features; (R, K),
        R = 0 where the network does not show its splitter. NaN for a constant mask.
    """

    rows: I64
    subject: NDArray[np.str_]
    parts: tuple[Part, ...]
    profile: F32
    mask_mean: F64
    mask_std: F64
    mask_spread: F64
    pooled: F32
    gates: F64 | None
    errors: F64
    zeros: F64
    shuffled: F64
    fresh: F64


def spaced(rows: I64, most: int = REPORT_ROWS) -> I64:
    """Return at most ``most`` of the rows, evenly spaced: all people are met, and the report is the same each time."""
    return np.asarray(np.sort(rows)[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)], dtype=np.int64)


def look(model: nn.Module, table: WindowTable, rows: I64, scaler: Scaler) -> Seen:
    """Send at least one window, at most `REPORT_ROWS`, through a network that splits (see `SplittingNetwork`)."""
    model.eval()
    some = spaced(rows)
    # Batches of many people, so that another window's split is mostly another person's; undone at the end.
    order = np.random.default_rng(0).permutation(len(some))
    source = source_for([model], table, some[order], scaler)
    gathered = _Gathered(model)
    gathered.over(source, table.subject[some[order]])
    return gathered.seen(some, table.subject[some], np.argsort(order))


def parts_of(model: nn.Module, tokens: int) -> tuple[Part, ...]:
    """Return what the tokens of a network are, empty where it does not tell."""
    maker: Any = getattr(model, "tokens", None)
    groups = getattr(maker, "groups", ())
    rest = tokens - sum(group.tokens for group in groups)
    found: list[Part] = []
    place = 0
    for group in groups:
        count = group.tokens or rest
        span = (place, place + count)
        if group.track:
            times = tuple(float(s) for s in maker.tracks[group.track].before_s.tolist())
            found.append(Part("track", group.track, *span, before_s=times))
        elif group.columns:
            name = cast("Any", model).spec.features[group.columns[0]].partition(".")[0]
            found.append(Part("family", name, *span, columns=group.columns))
        else:
            found.append(Part("waveform", "waveform", *span))
        place += count
    return tuple(found)


def donors(code: I64) -> I64:
    """Return for every window of a batch (B,) the place of another: of another person wherever nobody has half of the windows.

    A true exchange: every window gives its split to exactly one other.
    """
    order = np.argsort(code, kind="stable")
    found = np.empty_like(order)
    found[order] = np.roll(order, int(np.bincount(code).max()))
    return found


def fresh_splitters(model: nn.Module, count: int = FRESH) -> list[nn.Module]:
    """Return splitters with the form of the network's own and weights as before any training; none where it shows none.

    Weights are uniform within ± 1/√(inputs) and offsets are zero, as all stacked maps of the package are born.
    """
    own = getattr(model, "splitter", None)
    if not isinstance(own, nn.Module):
        return []
    rng = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        new = copy.deepcopy(own)
        with torch.no_grad():
            for name, p in new.named_parameters():
                bound = 1 / math.sqrt(p.shape[-2]) if name.endswith("weight") and p.ndim > 1 else 0.0
                p.copy_((2 * torch.rand(p.shape, generator=rng) - 1) * bound)
        made.append(new)
    return made


@dataclass
class _Gathered:
    """Sums and lists over batches."""

    model: nn.Module
    lists: dict[str, list[Tensor]] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    sums: Tensor | None = None

    def over(self, source: BatchSource, subject: NDArray[np.str_]) -> None:
        """Look at all windows; ``subject`` in the order of the source."""
        _, code = np.unique(subject, return_inverse=True)
        fresh = [splitter.to(device_of(self.model)) for splitter in fresh_splitters(self.model)]
        # Parts of equal size: a last batch of one window would have no other to exchange with.
        size = -(-len(source) // -(-len(source) // BATCH))
        start = 0
        with torch.inference_mode():
            for given in source.in_order(size):
                batch = moved(given, self.model)
                self._batch(batch, torch.from_numpy(donors(code[start : start + size])), fresh)
                start += size

    def _batch(self, batch: Batch, other: Tensor, fresh: Sequence[nn.Module]) -> None:
        net = cast("SplittingNetwork", self.model)
        embedding = net.embed(batch)
        masks, splits = net.split(embedding)
        out = net.answer(masks, splits, batch)
        self.parts = self.parts or parts_of(self.model, masks.shape[2])
        self._keep("profile", _where_there(masks.mean(3), self.parts, batch))
        self._keep("share", masks.mean((2, 3)))
        self._keep("pooled", splits.mean(2))
        self._keep("errors", out.predictions - batch.targets)
        for name, given in (("zeros", torch.zeros_like(splits)), ("shuffled", splits[other.to(splits.device)])):
            self._keep(name, torch.stack([_with(net, masks, splits, given, k, batch) for k in range(splits.shape[1])], dim=1))
        if out.gates is not None:
            self._keep("gates", out.gates)
        sums = _sums(masks, [splitter(embedding)[0] for splitter in fresh])
        self.sums = sums if self.sums is None else self.sums + sums

    def _keep(self, name: str, value: Tensor) -> None:
        self.lists.setdefault(name, []).append(value.cpu())

    def _joined(self, name: str, back: I64) -> NDArray[Any]:
        """Return an array in the order of the rows, windows first."""
        return np.asarray(torch.cat(self.lists[name]).float().numpy()[back])

    def seen(self, rows: I64, subject: NDArray[np.str_], back: I64) -> Seen:
        """Return everything as arrays."""
        share = self._joined("share", back).astype(np.float64)
        spread, fresh = _correlations(cast("Tensor", self.sums).numpy())
        return Seen(
            rows=rows, subject=subject, parts=self.parts, profile=self._joined("profile", back),
            mask_mean=share.mean(0), mask_std=share.std(0), mask_spread=spread,
            pooled=np.ascontiguousarray(self._joined("pooled", back).swapaxes(0, 1)),
            gates=self._joined("gates", back).astype(np.float64) if "gates" in self.lists else None,
            errors=self._joined("errors", back).astype(np.float64),
            zeros=self._joined("zeros", back).astype(np.float64).swapaxes(0, 1),
            shuffled=self._joined("shuffled", back).astype(np.float64).swapaxes(0, 1), fresh=fresh,
        )  # fmt: skip


def _with(net: SplittingNetwork, masks: Tensor, splits: Tensor, given: Tensor, k: int, batch: Batch) -> Tensor:
    """Return the errors (B, T) with split ``k`` taken from ``given``."""
    here = torch.zeros(splits.shape[1], 1, 1, dtype=torch.bool, device=splits.device)
    here[k] = True
    return net.answer(masks, torch.where(here, given, splits), batch).predictions - batch.targets


def _where_there(profile: Tensor, parts: Sequence[Part], batch: Batch) -> Tensor:
    """Return the profile (B, K, N) with NaN at the tokens of what a window does not have."""
    told = profile.clone()
    for part in parts:
        if part.kind == "track":
            lacks = ~batch.present[part.name].any(1)
        elif part.kind == "family":
            lacks = batch.missing[:, list(part.columns)].all(1)
        else:
            continue
        told[lacks, :, part.start : part.stop] = math.nan
    return told


def _sums(masks: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Return (3 + 3 R, K): number, sum and squares of the masks; for each other masks their sum, squares and products."""
    x = masks.transpose(0, 1).flatten(1).double()
    found = [torch.full_like(x[:, 0], x.shape[1]), x.sum(1), x.square().sum(1)]
    for other in others:
        y = other.transpose(0, 1).flatten(1).double()
        found += [y.sum(1), y.square().sum(1), (x * y).sum(1)]
    return torch.stack(found).cpu()


def _correlations(sums: F64) -> tuple[F64, F64]:
    """Return the standard deviation of the masks (K,), and the correlations (R, K) with other masks."""
    n = sums[0]
    mean, spread = sums[1] / n, np.sqrt(np.maximum(sums[2] / n - (sums[1] / n) ** 2, 0.0))
    found = []
    for y, yy, xy in sums[3:].reshape(-1, 3, len(n)):
        size = spread * np.sqrt(np.maximum(yy / n - (y / n) ** 2, 0.0))
        # What is smaller than this is rounding.
        found.append(np.where(size > 1e-10, (xy / n - mean * y / n) / np.where(size > 1e-10, size, 1.0), np.nan))
    return spread, np.stack(found) if found else np.empty((0, len(n)))
