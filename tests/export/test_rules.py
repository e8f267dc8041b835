"""Operations in other words give the numbers of torch's own, and refuse what they cannot do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from biosig_mtl.export import rules
from biosig_mtl.export.rules import InOtherWords
from biosig_mtl.export.whole import by_window
from biosig_mtl.training.scaling import Scaler

X = torch.randn(3, 4, 17, generator=torch.Generator().manual_seed(0))
W = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1))
B = torch.randn(5, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_convolutions_along_time(stride: int, padding: int) -> None:
    expected = functional.conv1d(X, W, B, stride, padding)
    flat = functional.conv2d(X[:, :, None], W[:, :, None], B, (1, stride), (0, padding))
    own = functional.conv1d(X, W[:4, :1], None, stride, padding, groups=4)
    with InOtherWords():
        torch.testing.assert_close(functional.conv1d(X, W, B, stride, padding), expected)
        made = functional.conv2d(X[:, :, None], W[:, :, None], B, (1, stride), (0, padding))
        torch.testing.assert_close(made, flat)
        torch.testing.assert_close(functional.conv1d(X, W[:4, :1], None, stride, padding, groups=4), own)


def test_norms_means_attention_and_joining() -> None:
    gain, offset = torch.randn(17), torch.randn(17)
    each, each_offset = torch.randn(4), torch.randn(4)
    q = torch.randn(2, 2, 5, 8)
    bools = X > 0

    def all_of_them() -> list[torch.Tensor]:
        return [
            functional.linear(X, torch.eye(17)[:5] * 3, B),
            functional.linear(X[0], torch.eye(17)[:5] * 3),
            torch.repeat_interleave(X, torch.tensor([2, 0, 1, 3]), 1),
            torch.repeat_interleave(X, 2, 1),
            functional.layer_norm(X, (17,), gain, offset),
            functional.layer_norm(X, (4, 17)),
            functional.group_norm(X, 2, each, each_offset),
            functional.group_norm(X, 1),
            functional.avg_pool1d(X, 4, 2),
            functional.avg_pool2d(X[:, :, None], (1, 3)),
            functional.scaled_dot_product_attention(q, q + 1, q - 1),
            torch.cat([X, X[:, :1], X[:, 1:3]], dim=1),
            torch.cat([X, X], dim=-1),
            torch.cat([bools, ~bools], dim=2),
            X[:, [0, 1, 3]],
            X[:, :, list(range(0, 17, 2))],
            X[0],
            X[:, 1:3],
            X.contiguous(memory_format=torch.contiguous_format),
        ]

    expected = all_of_them()
    with InOtherWords():
        found = all_of_them()
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b)


def test_what_is_not_along_time_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="a convolution that is not along time"):
        rules.convolved(X[:, :, None].expand(-1, -1, 3, -1), W[:, :, None])
    with pytest.raises(NotImplementedError, match="a convolution"):
        rules.convolved(X, W, padding="same")
    with pytest.raises(NotImplementedError, match="a convolution"):
        rules.convolved(X, W, dilation=2)
    with pytest.raises(NotImplementedError, match="a mean"):
        rules.averaged(X, 3, padding=1)
    with pytest.raises(NotImplementedError, match="a mean"):
        rules.averaged(X[:, :, None], (2, 2))


def test_windows_scale_themselves_as_in_training() -> None:
    bare = Scaler(*(torch.zeros(0).numpy(),) * 6, torch.zeros(0).long().numpy())
    raw = 20 * torch.randn(40, 5, 32, generator=torch.Generator().manual_seed(3)) + 4
    present = torch.rand(40, 5, generator=torch.Generator().manual_seed(4)) < 0.7
    raw[3, 2] = 1.0
    raw = torch.where(present[..., None], raw, torch.zeros(()))
    expected = torch.from_numpy(bare.track("eeg", raw.numpy(), present.numpy()))
    found = torch.where(present[..., None], by_window(raw, present).clamp(-8, 8), torch.zeros(()))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
