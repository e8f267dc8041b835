"""Laws of task tokens: who may read whom, what that isolates, and agreement with a transformer of PyTorch's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl.models.network import Network
from biosig_mtl.models.task_tokens import (
    MASKS,
    TaskMask,
    TaskTokens,
    TaskTokensSettings,
    TransformerLayer,
    may_read,
    task_tokens,
)
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "heads": 2, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return task_tokens(TaskTokensSettings(**{**SMALL, **words}), spec)


def never(x: Tensor, axis: int = 0) -> Tensor:
    raise AssertionError(x, axis)  # attention weighs the tokens, no pool does


def test_the_masks_are_their_tables() -> None:
    tables = {
        "none": ("1111", "1111", "1111", "1111"),
        "txt": ("1011", "0111", "1111", "1111"),
        "fxt": ("1111", "1111", "0011", "0011"),
        "both": ("1011", "0111", "0011", "0011"),
    }
    assert set(tables) == set(MASKS)
    for mask in MASKS:
        assert tuple("".join(str(int(x)) for x in row) for row in may_read(2, 2, mask)) == tables[mask]
    assert torch.equal(may_read(1, 3, "txt"), may_read(1, 3, "none"))


@pytest.mark.parametrize("mask", MASKS)
def test_a_layer_is_that_of_pytorch(mask: TaskMask) -> None:
    torch.manual_seed(0)
    layer = TransformerLayer(8, 2, 0.0)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True)
    ours = layer.state_dict()
    state = {
        "self_attn.in_proj_weight": torch.cat([ours[f"{name}.weight"] for name in ("queries", "keys", "values")]),
        "self_attn.in_proj_bias": torch.cat([ours[f"{name}.bias"] for name in ("queries", "keys", "values")]),
    }
    names = {"self_attn.out_proj": "out", "linear1": "wide", "linear2": "narrow", "norm1": "before", "norm2": "between"}
    state |= {f"{name}.{kind}": ours[f"{mine}.{kind}"] for name, mine in names.items() for kind in ("weight", "bias")}
    theirs.load_state_dict(state)
    row, may = torch.randn(5, 7, 8), may_read(3, 4, mask)
    expected = theirs(row, src_mask=~may)
    torch.testing.assert_close(layer(row, row, may), expected)
    torch.testing.assert_close(layer(row[:, :3], row, may[:3]), expected[:, :3])


@pytest.mark.parametrize("mask", MASKS)
def test_what_another_task_is_matters_only_where_the_mask_lets_it_through(mask: TaskMask) -> None:
    torch.manual_seed(0)
    tokens = torch.randn(5, 4, 8)
    reached = {}
    for layers in (1, 2):
        body = TaskTokens(2, TaskTokensSettings(width=8, dropout=0.0, layers=layers, mask=mask))
        before = body(tokens, never).embedding
        with torch.no_grad():
            body.tasks[1] = torch.randn(8)
        after = body(tokens, never).embedding
        assert not torch.allclose(before[:, 1], after[:, 1])
        reached[layers] = not torch.equal(before[:, 0], after[:, 0])
    # In one layer a task reads another only directly; in two also by way of the tokens of the window.
    assert reached == {1: mask in {"none", "fxt"}, 2: mask != "both"}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("task", [0, 1])
def test_a_loss_reaches_another_task_only_where_the_mask_lets_it_through(
    make_spec: MakeSpec, make_batch: MakeBatch, mask: TaskMask, task: int
) -> None:
    spec = make_spec()
    model = small(spec, mask=mask)
    model(make_batch(spec)).predictions[:, task].square().sum().backward()
    grad = model.get_parameter("body.tasks").grad
    assert grad is not None
    assert (grad[task] != 0).any()
    assert bool((grad[1 - task] != 0).any()) == (mask != "both")
    assert all(
        p.grad is not None and (p.grad != 0).any() for n, p in model.body.named_parameters() if not n.endswith("keys.bias")
    )


def test_a_window_does_not_know_its_batch(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model, batch = small(spec, mask="none").eval(), make_batch(spec)
    other = replace(batch, waveform=batch.waveform.clone(), values=batch.values.clone())
    other.waveform[1:] = 5.0
    other.values[1:] = -3.0
    told, changed = model(batch).predictions, model(other).predictions
    torch.testing.assert_close(changed[:1], told[:1], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(changed[1:], told[1:])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("layers", [1, 2])
def test_permuting_tasks_with_their_parameters_permutes_answers(
    make_affect_spec: MakeSpec, make_batch: MakeBatch, mask: TaskMask, layers: int
) -> None:
    spec, order = make_affect_spec(targets=3), [2, 0, 1]
    model, other = (small(spec, seed=seed, mask=mask, layers=layers).eval() for seed in (0, 1))
    state = model.state_dict()
    other.load_state_dict({n: v[order] if n.startswith(("heads.", "answers.", "body.tasks")) else v for n, v in state.items()})
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("targets", [1, 2, 5])
def test_any_number_of_tasks(make_spec: MakeSpec, make_batch: MakeBatch, targets: int) -> None:
    spec = make_spec(targets=targets, samples=75)
    model = small(spec).eval()
    assert model(make_batch(spec, 1)).predictions.shape == (1, targets)
    first, second = model(make_batch(spec)).predictions[:2]
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    body, tokens = TaskTokens(2, TaskTokensSettings(width=8, dropout=0.0)), torch.randn(5, 4, 8)
    reference = body(tokens, never).embedding
    if dtype == torch.float64:
        told = body.double()(tokens.double(), never).embedding
        assert told.dtype == torch.float64
        torch.testing.assert_close(told.float(), reference, atol=1e-5, rtol=1e-4)
    else:
        with torch.autocast("cpu", dtype=dtype):
            assert torch.allclose(body(tokens, never).embedding.float(), reference, atol=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"layers": 0}, "need layers >= 1, got 0"),
        ({"heads": 0}, "divide width, got 0, 32"),
        ({"heads": 3}, "divide width, got 3, 32"),
        ({"mask": "txf"}, "need mask in none, txt, fxt, both, got txf"),
    ],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskTokensSettings(**words)
