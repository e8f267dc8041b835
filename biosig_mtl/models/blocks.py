"""Parts that several networks are made of: stacked layers, attention, residual blocks, position codes.

Whatever has to exist once per split or once per task is one stacked parameter whose first axis counts splits or tasks, so that
all of them are computed in one matrix product and permuting tasks is permuting that axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_TOKEN_PERIOD = 1000.0  # longest wavelength of the position code, in tokens
TOKEN_S = 0.25  # where tokens have times, this much counts as one token


# ------------------------------------------------------------------------------------------------------------ convolutions
def channels_last(x: Tensor) -> Tensor:
    """Return signals (B, C, N) as (B, C, 1, N) with the channels of a sample side by side in memory."""
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def along_time(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer for (B, C, N) to (B, C, 1, N): the same numbers up to rounding, the same parameters, the same chance.

    A convolution over time as a 1 × k one over a picture of height 1 may keep its channels last, in which form it is 1.1 to
    1.4 times as fast on a CPU (forward and backward) at every size that was tried, and more in bfloat16.
    """
    if isinstance(layer, nn.Conv1d):
        step, padding = layer.stride[0], int(layer.padding[0])
        return functional.conv2d(x, layer.weight.unsqueeze(2), layer.bias, (1, step), (0, padding))
    if isinstance(layer, nn.Dropout1d):
        return functional.dropout2d(x, layer.p, layer.training)
    made: Tensor = layer(x)
    return made


class ResidualBlock(nn.Module):
    """x + conv–norm–ReLU–dropout–conv–norm, all at stride 1; (B, D, N) → (B, D, N), or (B, D, 1, N) → (B, D, 1, N)."""

    def __init__(self, width: int, dropout: float, kernel: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, kernel, padding=kernel // 2), nn.GroupNorm(1, width), nn.ReLU(), nn.Dropout1d(dropout),
            nn.Conv1d(width, width, kernel, padding=kernel // 2), nn.GroupNorm(1, width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Add the body's answer to its input."""
        if x.ndim == 3:
            return self(channels_last(x)).squeeze(2)  # type: ignore[no-any-return]
        y = x
        for layer in self.body:
            y = along_time(layer, y)
        return functional.relu(x + y)


def position_code(n: int, width: int, like: Tensor) -> Tensor:
    """Return sines and cosines of the token number, shape (n, width), small against a normed embedding."""
    return _code(torch.arange(n, dtype=torch.float64), width, like)


def time_code(before_s: Tensor, width: int, like: Tensor) -> Tensor:
    """Return the code of seconds before the end of a window (n,), shape (n, width): tokens of one time have one code."""
    return _code(before_s.to(torch.float64) / TOKEN_S, width, like)


def _code(place: Tensor, width: int, like: Tensor) -> Tensor:
    half = (width + 1) // 2
    rates = torch.exp(-math.log(MAX_TOKEN_PERIOD) * torch.arange(half, dtype=torch.float64) / half)
    angles = place.cpu()[:, None] * rates
    code = torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
    return 0.3 * code.to(device=like.device, dtype=like.dtype)


# -------------------------------------------------------------------------------------------------------- stacked layers
class StackedLinear(nn.Module):
    """``n`` linear maps side by side, one for every split or task; weight (n, in, out), bias (n, 1, out).

    Axes are (n, B, N, in) → (n, B, N, out): with the stack in front all maps are one batched matrix product without a copy.
    An input (1, B, N, in) is sent through every map.
    """

    def __init__(self, n: int, d_in: int, d_out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(n, d_in, d_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n, 1, d_out))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the maps."""
        n, d_in, d_out = self.weight.shape
        flat = x.reshape(x.shape[0], -1, d_in).expand(n, -1, -1)
        return torch.baddbmm(self.bias, flat, self.weight).view(n, x.shape[1], x.shape[2], d_out)


class StackedNorm(nn.Module):
    """Layer norm with own gain and offset for every task; (n, B, N, D) → the same."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n, 1, 1, width))
        self.offset = nn.Parameter(torch.zeros(n, 1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        return torch.addcmul(self.offset, functional.layer_norm(x, x.shape[-1:]), self.gain)

    def pooled(self, x: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the average over tokens of what is normalised, (n, B, D).

        Gain and offset are the same for all tokens and weights of an average sum to 1, so they are applied to the average: the
        same number, without three passes over all tokens.
        """
        average = pool(functional.layer_norm(x, x.shape[-1:]))
        return torch.addcmul(self.offset.squeeze(2), average, self.gain.squeeze(2))


class FeatureDropout(nn.Module):
    """Dropout that takes a feature away from all tokens of a window; (…, N, D) → the same.

    Drawing one number per window and feature instead of one per token costs a fraction, and neighbouring tokens of a signal
    would give away what single dropped entries hid.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Drop features while training."""
        if not self.training or self.share == 0.0:
            return x
        ones = torch.ones_like(x[..., :1, :])
        return x * functional.dropout(ones, self.share)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention in ``heads`` heads over tokens; q (n, B, N, D), k and v (n, B, M, D) → (n, B, N, D)."""
    n, b, _, d = v.shape

    def cut(x: Tensor) -> Tensor:
        return x.expand(n, -1, -1, -1).reshape(n * b, x.shape[2], heads, d // heads).transpose(1, 2)

    # bfloat16 attention of small heads is several times slower than float32 on CPU, and the softmax is better exact.
    with torch.autocast(v.device.type, enabled=False):
        exact = _exact(v)
        mixed = functional.scaled_dot_product_attention(cut(q).to(exact), cut(k).to(exact), cut(v).to(exact))
    return mixed.transpose(1, 2).reshape(n, b, q.shape[2], d)


def gather(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Low-rank attention: one question of the whole window weighs its tokens, at a cost linear in their number.

        a_h = softmax_N((P_h H^T) · (Q_h c) / √r);   Σ_m a_h[m] v_h[m]

    q (n, B, 1, heads · r) is Q c of one context vector c, k (n, B, N, heads · r) is P H, v (n, B, N, D); returns
    (n, B, 1, D). The rank r of the bilinear form between context and token is far below D.

    Source: "Low Rank Factorization for Compact Multi-Head Self-Attention" (LAMA), as its abstract and equation were known to
    us. Ours: the scale 1/√r, and no bounding non-linearity before the softmax.
    """
    n, b, _, d = v.shape
    rank = k.shape[-1] // heads
    with torch.autocast(v.device.type, enabled=False):
        exact = _exact(v)
        asked, key, value = (x.to(exact).reshape(*x.shape[:3], heads, -1) for x in (q, k, v))
        weights = torch.softmax((asked * key).sum(-1) / math.sqrt(rank), dim=2)
        found: Tensor = (weights.unsqueeze(-1) * value).sum(2, keepdim=True)
    return found.expand(n, -1, -1, -1, -1).reshape(n, b, 1, d)


def _exact(x: Tensor) -> torch.dtype:
    return x.dtype if x.dtype == torch.float64 else torch.float32
