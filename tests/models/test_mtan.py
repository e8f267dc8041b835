"""Laws of MTAN: masks, what they look at and act on, what is shared, symmetry of tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.mtan import MaskedBlock, MaskedTrunk, MtanSettings, mtan
from biosig_mtl.models.network import Network
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return mtan(MtanSettings(**{**SMALL, **words}), spec)


def body_of(model: Network) -> MaskedTrunk:
    return cast("MaskedTrunk", model.body)


def blocks_of(model: Network) -> list[MaskedBlock]:
    return [cast("MaskedBlock", block) for block in body_of(model).blocks]


def shaken(model: Network) -> Network:
    """Return the network with every weight off its birth, so that no gain is one and no offset zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def mean(x: Tensor, axis: int = 0) -> Tensor:
    assert axis >= 0
    return x.mean(-2)


def test_the_network_is_its_equations(make_spec: MakeSpec) -> None:
    model = shaken(small(make_spec(targets=3)))
    tokens = torch.randn(4, 5, 8)
    last, masks = body_of(model).look(tokens)
    for i in range(3):
        x, before = tokens, None
        for j, block in enumerate(blocks_of(model)):
            p = block.enter(x)
            u = block.leave(p)
            net = block.mask
            seen = p if before is None else torch.cat([p, before], dim=-1)
            first = seen @ net.first.weight[i] + net.first.bias[i]
            first = functional.layer_norm(first, (4,), net.first_norm.gain[i].flatten(), net.first_norm.offset[i].flatten())
            second = first.clamp(min=0) @ net.second.weight[i] + net.second.bias[i]
            second = functional.layer_norm(second, (8,), net.second_norm.gain[i].flatten(), net.second_norm.offset[i].flatten())
            a = 1 / (1 + torch.exp(-second))
            torch.testing.assert_close(masks[j][i], a)
            x, before = u, block.after(a * u)
        assert before is not None
        torch.testing.assert_close(last[i], before)
    torch.testing.assert_close(model.body(tokens, mean).embedding[:, 2], last[2].mean(1))


@pytest.mark.parametrize("blocks", [1, 3])
def test_masks_are_soft_and_dynamic(make_spec: MakeSpec, blocks: int) -> None:
    body = body_of(small(make_spec(targets=2), blocks=blocks))
    last, masks = body.look(torch.randn(4, 5, 8))
    assert last.shape == (2, 4, 5, 8)
    assert len(masks) == blocks
    for mask in masks:
        assert mask.shape == (2, 4, 5, 8)
        assert ((mask > 0) & (mask < 1)).all()
        for axis in range(4):  # it differs by task, window, token and feature
            assert not torch.allclose(mask.select(axis, 0), mask.select(axis, 1))


def test_a_loss_reaches_no_mask_of_another_task(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=3)
    model = shaken(small(spec))
    model(make_batch(spec)).predictions[:, 1].sum().backward()
    kinds = {"mask": 0, "shared": 0}
    for name, parameter in model.body.named_parameters():
        gradient = parameter.grad
        assert gradient is not None
        if ".mask." in name:
            kinds["mask"] += 1
            assert gradient[1].any()
            assert not gradient[[0, 2]].any()
        else:
            kinds["shared"] += 1
            assert gradient.any(), name
    assert kinds == {"mask": 2 * 8, "shared": 2 * (2 * 6 + 4)}


def test_open_masks_leave_one_trunk(make_spec: MakeSpec) -> None:
    model = small(make_spec(targets=3))
    tokens = torch.randn(4, 5, 8)
    for block in blocks_of(model):
        nn.init.zeros_(block.mask.second_norm.gain)
        nn.init.constant_(block.mask.second_norm.offset, 100.0)
    made = model.body(tokens, mean).embedding
    x = tokens
    for block in blocks_of(model):
        x = block.leave(block.enter(x))
    expected = blocks_of(model)[-1].after(x).mean(1)
    torch.testing.assert_close(made, expected[:, None].expand(-1, 3, -1))


def test_the_order_of_tasks_does_not_matter(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    order = [2, 0, 1]
    spec = make_spec(targets=3)
    model, other = shaken(small(spec)).eval(), small(spec).eval()
    state = model.state_dict()
    for name, value in state.items():
        if name.startswith(("heads.", "answers.")) or ".mask." in name:
            state[name] = value[order]
    other.load_state_dict(state)
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order])
    assert not torch.allclose(other(batch).predictions, model(batch).predictions)


def test_other_windows_of_a_batch_are_not_looked_at(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    # What batch norm, which is in the source, would break.
    spec = make_spec()
    model, batch = small(spec).train(), make_batch(spec)
    other = replace(batch, waveform=batch.waveform.clone(), values=batch.values.clone())
    other.waveform[1:] *= 9.0
    other.values[1:] *= 9.0
    torch.testing.assert_close(model(batch).predictions[0], model(other).predictions[0])


def test_mask_networks_are_narrow(make_spec: MakeSpec) -> None:
    widths = [
        blocks_of(small(make_spec(), width=w, reduction=r))[1].mask.first.weight.shape for w, r in ((32, 4), (8, 4), (8, 1))
    ]
    assert widths == [(2, 64, 8), (2, 16, 4), (2, 16, 8)]


def test_one_task_works(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=1)
    assert small(spec, blocks=1)(make_batch(spec, 1)).predictions.shape == (1, 1)


@pytest.mark.parametrize("words", [{"blocks": 0}, {"reduction": 0}], ids=str)
def test_settings_refuse_nonsense(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="blocks and reduction >= 1"):
        MtanSettings(**words)
