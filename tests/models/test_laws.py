"""Laws that hold for every form of Split 'n' Merge: ablations of masks, of the shared split, of attention and of the merge.

Those of the plain form, and of the independence terms, are in test_split_merge.py and tests/training/test_independence.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl.models.blocks import gather
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.merging import BottleneckMerge
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings, tokens_in_a_window
from biosig_mtl.training.independence import IndependenceTerm
from biosig_mtl.types import Batch, InputSpec, Output

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "heads": 2, "stride": 16, "dropout": 0.0}
MASKS: dict[str, dict[str, Any]] = {
    "static": {"masks": "static"},
    "random": {"masks": "random"},
    "conv": {"masks": "conv"},
    "none": {"masks": "none"},
    "low rank": {"attention": "low_rank", "attention_rank": 3},
    "low rank, one head each": {"attention": "low_rank", "split_heads": "one_head_each"},
}
MERGES: dict[str, dict[str, Any]] = {
    "bottleneck": {"merge": "bottleneck"},
    **{f"{merge}, nothing shared": {"merge": merge, "shared_split": False}
       for merge in ("cross_attention", "gate", "concat", "bottleneck", "none")},
    "low rank, nothing shared": {"attention": "low_rank", "shared_split": False},
}  # fmt: skip
FORMS = MASKS | MERGES
# An offset that all keys have in common leaves a softmax as it was.
IDLE = "keys.bias"


def small(spec: InputSpec, form: str = "", seed: int = 0, **words: Any) -> SplitMerge:
    torch.manual_seed(seed)
    return SplitMerge(SplitMergeSettings(**{**SMALL, **FORMS.get(form, {}), **words}), spec)


def told(output: Tensor | None) -> Tensor:
    assert output is not None
    return output


def grads(model: nn.Module, begin: str) -> dict[str, Tensor]:
    """Gradients of parameters that matter, by name; zeros where there is none."""
    named = {n: p for n, p in model.named_parameters() if n.startswith(begin) and not n.endswith(IDLE)}
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named.items()}


def pieces(model: SplitMerge, batch: Batch, task: int) -> Tensor:
    """Return how much every split matters for one task: the largest gradient of its loss by each split, (K,)."""
    embedding = model.embed(batch)
    masks, splits = model.split(embedding)
    splits = splits.detach().requires_grad_()
    model.answer(masks, splits, batch).predictions[:, task].square().sum().backward()  # type: ignore[no-untyped-call]
    return told(splits.grad).abs().amax((0, 2, 3))


# --------------------------------------------------------------------------------------------------------- shape and value
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("normaliser", ["sigmoid", "softmax", "hard", "noise"])
def test_masks_filter_the_embedding(make_spec: MakeSpec, make_batch: MakeBatch, form: str, normaliser: str) -> None:
    spec = make_spec(targets=3)
    model = small(spec, form, mask_normaliser=normaliser).eval()
    batch = make_batch(spec)
    out: Output = model(batch)
    masks, splits = told(out.masks), told(out.splits)
    count = 3 + int(model.settings.shared_split)
    assert masks.shape == splits.shape == (12, count, *model.embed(batch).shape[1:])
    assert torch.isfinite(masks).all()
    assert ((masks >= 0) & (masks <= 1)).all()
    assert torch.equal(splits, masks * model.embed(batch)[:, None])
    if normaliser == "softmax" and form != "none":
        assert torch.allclose(masks.sum(1), torch.tensor(1.0), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tasks", range(1, 7))
def test_any_number_of_tasks_odd_lengths_and_one_window(
    make_spec: MakeSpec, make_batch: MakeBatch, form: str, tasks: int
) -> None:
    spec = make_spec(targets=tasks, samples=75)
    model = small(spec, form).eval()
    out: Output = model(make_batch(spec, 1))
    assert out.predictions.shape == told(out.private).shape == (1, tasks)
    assert torch.isfinite(out.predictions).all()
    assert out.gates is None


@pytest.mark.parametrize("form", FORMS)
def test_other_precisions(make_spec: MakeSpec, make_batch: MakeBatch, form: str) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    model = small(spec, form).eval()
    reference = model(batch).predictions
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(batch).predictions
    assert torch.allclose(rough.float(), reference, atol=0.05)
    double = Batch(batch.waveform.double(), batch.values.double(), batch.missing, batch.targets, batch.weight)
    exact = model.double()(double).predictions
    assert exact.dtype == torch.float64
    assert torch.allclose(exact.float(), reference, atol=1e-5)


@pytest.mark.parametrize("act", ["features", "tokens"])
@pytest.mark.parametrize("form", ["static", "random", "conv", "low rank"])
def test_masks_act_where_they_are_told_to(make_spec: MakeSpec, make_batch: MakeBatch, form: str, act: str) -> None:
    spec = make_spec()
    masks = told(small(spec, form, masks_act=act)(make_batch(spec)).masks)
    one = masks[:, :, :1] if act == "features" else masks[..., :1]
    assert torch.equal(masks, one.expand_as(masks))


# --------------------------------------------------------------------------------------------------------- forms of masks
@pytest.mark.parametrize(("form", "dynamic"), [("static", False), ("random", False), ("conv", True), ("low rank", True)])
def test_static_and_random_masks_do_not_look_at_the_window(
    make_spec: MakeSpec, make_batch: MakeBatch, form: str, dynamic: bool
) -> None:
    spec = make_spec()
    masks = told(small(spec, form)(make_batch(spec)).masks)
    assert torch.allclose(masks[0], masks[1]) != dynamic
    assert not torch.allclose(masks[:, 0], masks[:, 1])
    assert not torch.allclose(masks[:, :, 0], masks[:, :, 1])


def test_random_masks_stay_and_static_masks_learn(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    frozen, learnt = small(spec, "random"), small(spec, "static")
    assert "splitter.logits" in frozen.state_dict()
    assert not grads(frozen, "splitter.")
    learnt(make_batch(spec)).predictions.square().sum().backward()
    assert set(grads(learnt, "splitter.")) == {"splitter.logits"}
    assert (grads(learnt, "splitter.")["splitter.logits"].abs().amax((1, 2, 3)) > 0).all()


def test_random_masks_are_saved_with_the_weights(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    first, other = small(spec, "random").eval(), small(spec, "random", seed=1).eval()
    batch = make_batch(spec)
    assert not torch.allclose(first(batch).predictions, other(batch).predictions)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(batch).predictions, other(batch).predictions)


@pytest.mark.parametrize("form", ["static", "random"])
def test_fixed_masks_refuse_windows_of_another_length(make_spec: MakeSpec, make_batch: MakeBatch, form: str) -> None:
    model = small(make_spec(samples=128), form)
    with pytest.raises(ValueError, match=f"need windows of 11 tokens with masks: {form}, got 7"):
        model(make_batch(make_spec(samples=64)))


@pytest.mark.parametrize("samples", [0, 75, 128])
def test_the_tokens_of_a_window_are_counted_without_chance(make_spec: MakeSpec, make_batch: MakeBatch, samples: int) -> None:
    spec = make_spec(samples=samples)
    model = small(spec)
    before = torch.get_rng_state()
    assert tokens_in_a_window(model.tokens, spec) == model.embed(make_batch(spec)).shape[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert model.tokens.training


def test_tokens_of_tracks_are_counted(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_affect_spec()
    model = small(spec, "static")
    assert told(model(make_batch(spec)).masks).shape[2] == model.embed(make_batch(spec)).shape[1]


def test_masks_of_convolutions_look_at_one_token_and_those_of_low_rank_at_all(make_spec: MakeSpec) -> None:
    one = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    other = one.clone()
    other[:, 0] += 1.0
    for form, local in (("conv", True), ("low rank", False)):
        splitter = small(make_spec(), form).splitter
        before, after = splitter(one)[0], splitter(other)[0]
        assert torch.allclose(before[:, :, 1:], after[:, :, 1:], atol=1e-7) == local
        assert not torch.allclose(before[:, :, 0], after[:, :, 0])


def test_open_masks_have_no_parameters_and_weigh_nothing(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model = small(spec, "none", mask_normaliser="noise")
    assert not list(model.splitter.parameters())
    assert (told(model(make_batch(spec)).masks) == 1.0).all()
    assert (model.splitter.scores(torch.ones(2, 5, 8)) == 0.0).all()


def test_no_masks_and_concatenation_are_hard_sharing_with_a_doubled_head(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    split = small(spec, "none", merge="concat").eval()
    words = {k: v for k, v in SMALL.items() if k != "heads"}
    hard = hard_sharing(HardSharingSettings(**words, trunk_layers=0), spec).eval()
    hard.tokens.load_state_dict(split.tokens.state_dict())
    doubled = dict(split.heads.state_dict())
    doubled["hidden.weight"] = doubled["hidden.weight"][:, :8] + doubled["hidden.weight"][:, 8:]
    hard.heads.load_state_dict(doubled)
    batch = make_batch(spec)
    assert torch.allclose(split(batch).predictions, hard(batch).predictions, atol=1e-6)


# --------------------------------------------------------------------------------------------------------------- attention
def test_low_rank_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    heads, rank = 2, 3
    q, k = torch.randn(2, 4, 1, heads * rank), torch.randn(2, 4, 5, heads * rank)
    v = torch.randn(2, 4, 5, 8)
    found = gather(q, k, v, heads)
    assert found.shape == (2, 4, 1, 8)
    for h in range(heads):
        part = slice(h * rank, (h + 1) * rank)
        weights = torch.softmax((k[..., part] @ q[..., part].transpose(-1, -2)).squeeze(-1) / rank**0.5, dim=-1)
        expected = (weights.unsqueeze(-1) * v[..., 4 * h : 4 * h + 4]).sum(2, keepdim=True)
        assert torch.allclose(found[..., 4 * h : 4 * h + 4], expected, atol=1e-6)


def test_low_rank_attention_does_not_know_the_order_of_tokens() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2, 1, 6), torch.randn(1, 2, 7, 6), torch.randn(1, 2, 7, 8)
    order = torch.randperm(7)
    assert torch.allclose(gather(q, k, v, 2), gather(q, k[:, :, order], v[:, :, order], 2), atol=1e-6)


def test_slots_are_few_and_do_not_count_tokens() -> None:
    torch.manual_seed(0)
    merge = BottleneckMerge(2, 8, 2, 0.0)
    tokens = torch.randn(1, 3, 40, 8)
    read = merge.read(tokens)
    assert read.shape == (1, 3, 8, 8)
    assert torch.allclose(read, merge.read(torch.cat([tokens, tokens], dim=2)), atol=1e-5)
    assert torch.allclose(merge.read(tokens.expand(2, -1, -1, -1)), read.expand(2, -1, -1, -1), atol=1e-6)


# --------------------------------------------------------------------------------------------------------- gradient routing
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_task_hears_its_own_split_and_the_shared_one_only(
    make_spec: MakeSpec, make_batch: MakeBatch, form: str, task: int
) -> None:
    spec = make_spec(targets=3)
    model = small(spec, form)
    first = int(model.settings.shared_split)
    heard = pieces(model, make_batch(spec), task)
    expected = torch.tensor([True] * first + [t == task for t in range(3)])
    assert torch.equal(heard > 0, expected)
    for name, grad in (grads(model, "heads.") | grads(model, "merger.")).items():
        slots = model.settings.merge == "bottleneck" and name.startswith("merger.") and not name.startswith("merger.merge.")
        if not slots:  # what reads slots is common to all tasks
            assert all(bool((grad[t] != 0).any()) == (t == task) for t in range(3)), name


@pytest.mark.parametrize("form", FORMS)
def test_independence_reaches_splits_and_encoder_but_no_merge_and_no_head(
    make_spec: MakeSpec, make_batch: MakeBatch, form: str
) -> None:
    spec = make_spec()
    model = small(spec, form)
    splits = told(model(make_batch(spec)).splits)
    term = IndependenceTerm("uhsic", "all", splits.shape[1], splits.shape[3])(splits)
    told(term).backward()  # type: ignore[no-untyped-call]
    for begin in ("merger", "heads", "private", "answers"):
        assert all((grad == 0).all() for grad in grads(model, begin).values())
    for name, grad in grads(model, "splitter.").items():
        assert (grad.flatten(1).abs().amax(1) > 0).all(), name
    if form != "none":  # copies of the whole embedding are as dependent as can be, wherever it goes
        encoder = grads(model, "tokens.waveform.encoder")
        assert all((grad != 0).any() for name, grad in encoder.items() if name.endswith("weight"))


def test_the_independence_of_copies_is_one_whatever_the_embedding(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    splits = told(small(spec, "none")(make_batch(spec)).splits)
    assert float(told(IndependenceTerm("uhsic", "all", 3, 8)(splits)).detach()) == pytest.approx(1.0, abs=1e-4)


# -------------------------------------------------------------------------------------------------------------- symmetries
@pytest.mark.parametrize("form", FORMS)
def test_permuting_tasks_with_their_parameters_permutes_answers(make_spec: MakeSpec, make_batch: MakeBatch, form: str) -> None:
    spec = make_spec(targets=3)
    order = [2, 0, 1]
    model, other = small(spec, form).eval(), small(spec, form, seed=1).eval()
    first = int(model.settings.shared_split)
    by_split = [*range(first), *(t + first for t in order)]
    state = {}
    for name, value in model.state_dict().items():
        if name.startswith("splitter.") and len(value) == 3 + first:
            state[name] = value[by_split]
        elif name.startswith(("merger.", "heads.", "private.", "answers.")) and len(value) == 3:
            state[name] = value[order]
        else:
            state[name] = value
    other.load_state_dict(state)
    batch = make_batch(spec)
    assert torch.allclose(other(batch).predictions, model(batch).predictions[:, order], atol=1e-6)
    assert not torch.allclose(other(batch).predictions, model(batch).predictions)


@pytest.mark.parametrize("form", FORMS)
def test_a_window_does_not_hear_its_neighbours(make_spec: MakeSpec, make_batch: MakeBatch, form: str) -> None:
    spec = make_spec()
    model, batch = small(spec, form).eval(), make_batch(spec)
    some = Batch(*(getattr(batch, name)[[5, 2]] for name in ("waveform", "values", "missing", "targets", "weight")))
    assert torch.allclose(model(some).predictions, model(batch).predictions[[5, 2]], atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_network(make_spec: MakeSpec, form: str) -> None:
    first, same, other = (small(make_spec(), form, seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_rank_is_a_positive_number() -> None:
    with pytest.raises(ValueError, match="attention_rank >= 1, got 0"):
        SplitMergeSettings(attention_rank=0)
