"""Laws of scales, and of Medusa: tasks never read each other, and weigh the levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from biosig_mtl.models.medusa import Medusa, MedusaSettings, medusa
from biosig_mtl.models.network import Network
from biosig_mtl.models.scales import Block, Levels, coarsen
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}
PER_TASK = ("body.masks", "body.own", "body.score", "heads.", "answers.")


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return medusa(MedusaSettings(**{**SMALL, **words}), spec)


def levels_of(model: Network) -> Levels:
    assert isinstance(model.body, Medusa)
    return model.body.levels


# ---------------------------------------------------------------------------------------------------------------- scales
def test_neighbours_are_averaged_within_their_span_only() -> None:
    x = torch.arange(9.0)[:, None]
    assert coarsen(x, (0, 2, 1, 1), 2).flatten().tolist() == [0.5, 0.5, 2.5, 2.5, 4.0, 5.5, 5.5, 7.0, 8.0]
    assert coarsen(x, (0, 2, 1, 1), 4).flatten().tolist() == [1.5, 1.5, 1.5, 1.5, 4.0, 5.5, 5.5, 7.0, 8.0]
    assert torch.equal(coarsen(x, (3, 6), 1), x)
    stacked = torch.randn(2, 5, 9, 3)
    torch.testing.assert_close(coarsen(stacked, (9,), 16), stacked.mean(2, keepdim=True).expand_as(stacked))


def test_blocks_nest_so_that_steps_of_a_block_are_alike_at_its_level(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(samples=112)  # seven time steps and three families
    model = small(spec).eval()
    rows = levels_of(model)(model.tokens(make_batch(spec)))
    assert [row.shape for row in rows] == [(12, 10, 8)] * 3
    for row, size in zip(rows, (1, 2, 4), strict=True):
        numbers = [i // size for i in range(7)] + [7, 8, 9]
        for i in range(10):
            for j in range(i):
                alike = torch.allclose(row[:, i], row[:, j], atol=1e-5)
                assert alike == (numbers[i] == numbers[j]), (size, i, j)


def test_families_are_nobodys_neighbours(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(channels=0, samples=0)
    model = small(spec).eval()
    row = model.tokens(make_batch(spec))
    for size in (2, 4):
        assert torch.equal(coarsen(row, levels_of(model).spans, size), row)


def test_a_track_is_coarsened_by_itself(make_affect_spec: MakeSpec) -> None:
    spans = levels_of(small(make_affect_spec(), track_tokens=4)).spans
    assert len(spans) == 5  # two tracks, three families
    assert spans[2:] == (1, 1, 1)
    assert min(spans[:2]) > 1


def test_a_block_does_not_care_for_the_order_of_tokens() -> None:
    torch.manual_seed(0)
    block, x = Block(8, 2, 0.0), torch.randn(3, 6, 8)
    order = [4, 0, 5, 2, 1, 3]
    for told, turned in zip(block(x), block(x[:, order]), strict=True):
        torch.testing.assert_close(told[:, order], turned)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"levels": 1}, "need 2 <= levels <= 6, got 1"),
        ({"levels": 7}, "got 7"),
        ({"heads": 0}, "divide width, got 0, 32"),
        ({"heads": 3}, "divide width, got 3, 32"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MedusaSettings(**words)


# ---------------------------------------------------------------------------------------------------------------- Medusa
@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_task_teaches_the_backbone_and_itself_alone(make_spec: MakeSpec, make_batch: MakeBatch, task: int) -> None:
    spec = make_spec(targets=3)
    model = small(spec)
    model(make_batch(spec)).predictions[:, task].square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None
        if name.startswith(PER_TASK) and "skip" not in name:
            taught = [bool((p.grad[t] != 0).any()) for t in range(3)]
            assert taught == [t == task for t in range(3)], name
        elif "skip" not in name:
            assert (p.grad != 0).any(), name


def test_what_another_task_has_learnt_changes_nothing(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=3)
    model, batch = small(spec).eval(), make_batch(spec)
    before = model(batch).predictions
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.startswith(PER_TASK) and "skip" not in name:
                p[2].normal_()
    after = model(batch).predictions
    assert torch.equal(after[:, :2], before[:, :2])
    assert not torch.allclose(after[:, 2], before[:, 2])


def test_weights_of_scales_are_shown_and_weigh(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model, batch = small(spec, levels=4).eval(), make_batch(spec)
    out = model(batch)
    assert model.shown["scales.sbp"] == ("level 1", "level 2", "level 3", "level 4")
    for name in spec.targets:
        shares = out.weights[f"scales.{name}"]
        assert shares.shape == (12, 4)
        torch.testing.assert_close(shares.sum(1), torch.ones(12))
    assert isinstance(model.body, Medusa)
    with torch.no_grad():
        model.body.score.weight.zero_()
        model.body.score.bias[0, 0, 2] = 200.0
    told = model(batch)
    assert torch.equal(told.weights["scales.sbp"], torch.tensor([0.0, 0.0, 1.0, 0.0]).expand(12, -1))
    with torch.no_grad():  # what has no say changes nothing
        model.body.own[1].bias.add_(5.0)  # type: ignore[operator]
    after = model(batch).predictions
    assert torch.equal(after[:, 0], told.predictions[:, 0])
    assert not torch.allclose(after[:, 1], told.predictions[:, 1])


def test_permuting_tasks_with_their_parameters_permutes_answers(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec, order = make_spec(targets=3), [2, 0, 1]
    model, other, batch = small(spec).eval(), small(spec, seed=1).eval(), make_batch(spec)
    state = {n: v[order] if n.startswith(PER_TASK) else v for n, v in model.state_dict().items()}
    other.load_state_dict(state)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order])
