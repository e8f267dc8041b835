"""Operations in other words, so that many networks of one form can be written down as one with a free number of windows.

`torch.vmap` runs networks side by side on stacked weights. Some of its rules look at the number of windows as a plain number
(torch 2.13: joining, normalising, convolutions), which would fix that number in an exported graph; others are not written
(attention, layouts in memory). Here these operations are made of ones that have no such rule. The numbers are the same up to
rounding; the parity check of an export (`biosig_mtl.export.parity`) says how far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def joined(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an axis: each is padded to the whole length, and all are added."""
    parts = list(parts)
    dim = dim % parts[0].ndim
    total, at = sum(part.shape[dim] for part in parts), 0
    made: Tensor | None = None
    for part in parts:
        size = part.shape[dim]
        plain = part.to(torch.float32) if part.dtype == torch.bool else part
        padded = functional.pad(plain, [0, 0] * (part.ndim - 1 - dim) + [at, total - at - size])
        made = padded if made is None else made + padded
        at += size
    assert made is not None
    return made.bool() if parts[0].dtype == torch.bool else made


def normed(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5, *_: Any
) -> Tensor:
    """Layer norm over the last axes."""
    axes = tuple(range(-len(shape), 0))
    away = x - x.mean(axes, keepdim=True)
    made = away * torch.rsqrt((away * away).mean(axes, keepdim=True) + eps)
    made = made if weight is None else made * weight
    return made if bias is None else made + bias


def normed_in_groups(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5, *_: Any
) -> Tensor:
    """Group norm of (B, C, …)."""
    rows = x.reshape(x.shape[0], groups, -1)
    made = normed(rows, rows.shape[-1:], eps=eps).reshape(x.shape)
    beside = (1, -1) + (1,) * (x.ndim - 2)
    made = made if weight is None else made * weight.reshape(beside)
    return made if bias is None else made + bias.reshape(beside)


def convolved(  # noqa: PLR0913 (the arguments are those of torch)
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over time, of (B, C, N) or of a picture of height 1, as one matrix product.

    Raises
    ------
    NotImplementedError
        It is of another kind; networks that have it are exported one beside the other.
    """
    flat = x.ndim == 4
    known = (not flat or (x.shape[2] == 1 and weight.shape[2] == 1)) and not isinstance(padding, str)
    channels = weight.shape[0] == groups == x.shape[1]
    if not known or _last(dilation) != 1 or (groups != 1 and not channels):
        raise NotImplementedError("a convolution that is not along time")
    if flat:
        x, weight = x.squeeze(2), weight.squeeze(2)
    step, edge, taps = _last(stride), _last(padding), weight.shape[-1]
    x = functional.pad(x, (edge, edge)) if edge else x
    steps = (x.shape[-1] - taps) // step + 1
    seen = torch.stack([x[..., j : j + step * (steps - 1) + 1 : step] for j in range(taps)], dim=2)
    if groups == 1:
        made = weight.reshape(weight.shape[0], -1) @ seen.reshape(seen.shape[0], -1, steps)
    else:
        made = (seen * weight[:, 0, :, None]).sum(2)
    made = made if bias is None else made + bias[:, None]
    return made.unsqueeze(2) if flat else made


def averaged(x: Tensor, size: Any, stride: Any = None, padding: Any = 0, *_: Any, **__: Any) -> Tensor:
    """Mean over stretches of the last axis.

    Raises
    ------
    NotImplementedError
        Ends are padded, or other axes are averaged too.
    """
    wide, step = _last(size), _last(size if stride is None or stride == [] else stride)
    if _last(padding) or (isinstance(size, tuple | list) and len(size) > 1 and size[0] != 1):
        raise NotImplementedError("a mean that is not along time")
    steps = (x.shape[-1] - wide) // step + 1
    return torch.stack([x[..., j : j + step * (steps - 1) + 1 : step] for j in range(wide)], dim=-1).mean(-1)


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention without mask and dropout."""
    found: Tensor = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1) @ v
    return found


def mapped(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Linear map of the last axis."""
    made = x @ weight.transpose(-1, -2)
    return made if bias is None else made + bias


def _as_it_lies(x: Tensor, **_: Any) -> Tensor:
    return x


def taken(x: Tensor, index: Any) -> Tensor:
    """Indexing; columns that are named one by one are taken as stretches, which is several times as fast in a graph."""
    columns = index[-1] if isinstance(index, tuple) else None
    if not isinstance(columns, list) or not columns or any(part != slice(None) for part in index[:-1]):
        return x.__getitem__(index)
    axis = len(index) - 1
    runs: list[list[int]] = []
    for column in columns:
        if runs and runs[-1][1] == column:
            runs[-1][1] = column + 1
        else:
            runs.append([column, column + 1])
    if len(runs) > MOST_RUNS:
        return x.__getitem__(index)
    return joined([x.narrow(axis, first, stop - first) for first, stop in runs], axis)


MOST_RUNS = 4
LISTED = "_listed"


def told(data: Any, **words: Any) -> Tensor:
    """Make a tensor of plain numbers, and remember them: in a graph a tensor has no numbers that could be read."""
    made = torch.tensor(data, **words)
    if isinstance(data, list):
        setattr(made, LISTED, data)
    return made


def repeated(x: Tensor, times: Any, dim: int | None = None, **words: Any) -> Tensor:
    """Repeat columns, each so many times as a list of plain numbers says, as a product with zeros and ones."""
    counts = getattr(times, LISTED, None)
    if counts is None or dim is None:
        return torch.repeat_interleave(x, times, dim, **words)
    rows = [[float(row == column) for row, n in enumerate(counts) for _ in range(n)] for column in range(len(counts))]
    spread: Tensor = x.movedim(dim, -1) @ torch.tensor(rows, dtype=x.dtype)
    return spread.movedim(-1, dim)


def _last(value: Any) -> int:
    return int(value[-1]) if isinstance(value, tuple | list) else int(value)


RULES: Mapping[Any, Callable[..., Tensor]] = {
    torch.cat: joined,
    functional.linear: mapped,
    functional.layer_norm: normed,
    torch.layer_norm: normed,
    functional.group_norm: normed_in_groups,
    torch.group_norm: normed_in_groups,
    functional.conv1d: convolved,
    functional.conv2d: convolved,
    functional.avg_pool1d: averaged,
    functional.avg_pool2d: averaged,
    functional.scaled_dot_product_attention: attended,
    torch.Tensor.contiguous: _as_it_lies,
    torch.Tensor.__getitem__: taken,
    torch.tensor: told,
    torch.repeat_interleave: repeated,
}


class InOtherWords(TorchFunctionMode):
    """Within it the operations of `RULES` are done in other words."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do one operation."""
        return RULES.get(func, func)(*args, **(kwargs or {}))
