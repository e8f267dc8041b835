"""Laws of the reconstruction: shapes, exact gradient routing, equivalences, symmetries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.types import Batch, InputSpec, Output, RecipeError

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "heads": 2, "stride": 16, "dropout": 0.0}
NORMALISERS = ("sigmoid", "softmax", "hard", "noise")
MERGES = ("cross_attention", "gate", "concat", "none")


def small(spec: InputSpec, seed: int = 0, **words: Any) -> SplitMerge:
    torch.manual_seed(seed)
    return SplitMerge(SplitMergeSettings(**{**SMALL, **words}), spec)


def linear(part: object) -> StackedLinear:
    assert isinstance(part, StackedLinear)
    return part


def told(output: Tensor | None) -> Tensor:
    assert output is not None
    return output


@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("act", ["tokens_features", "features", "tokens"])
@pytest.mark.parametrize("heads", ["per_split", "one_head_each"])
def test_masks_filter_the_embedding(make_spec: MakeSpec, make_batch: MakeBatch, normaliser: str, act: str, heads: str) -> None:
    spec = make_spec()
    model = small(spec, mask_normaliser=normaliser, masks_act=act, split_heads=heads, temperature=0.1).eval()
    batch = make_batch(spec)
    embedding = model.embed(batch)
    out: Output = model(batch)
    masks, splits = told(out.masks), told(out.splits)
    assert masks.shape == splits.shape == (12, 3, *embedding.shape[1:])
    assert ((masks >= 0) & (masks <= 1)).all()
    assert torch.equal(splits, masks * embedding[:, None])
    if normaliser == "softmax":
        assert torch.allclose(masks.sum(1), torch.tensor(1.0), atol=1e-5)
    if act == "features":
        assert torch.equal(masks, masks[:, :, :1].expand_as(masks))
    if act == "tokens":
        assert torch.equal(masks, masks[..., :1].expand_as(masks))
    # Dynamic: another window has another mask.
    assert not torch.allclose(masks[0], masks[1])


def test_hard_masks_reach_zero_and_one(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    masks = told(small(spec, mask_normaliser="hard", temperature=0.01)(make_batch(spec)).masks)
    assert (masks == 0).any()
    assert (masks == 1).any()


def test_noise_fills_what_is_masked_in_training_only(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model = small(spec, mask_normaliser="noise")
    with torch.no_grad():
        linear(model.splitter.logits).weight.zero_()
        linear(model.splitter.logits).bias.fill_(-100.0)
    batch = make_batch(spec, 64)
    closed = told(model(batch).splits)
    assert 0.9 < float(closed.std().detach()) < 1.1
    assert float(told(model.eval()(batch).splits).detach().abs().max()) < 1e-30


@pytest.mark.parametrize("tasks", range(1, 7))
@pytest.mark.parametrize("merge", MERGES)
def test_any_number_of_tasks_and_odd_lengths(make_spec: MakeSpec, make_batch: MakeBatch, tasks: int, merge: str) -> None:
    spec = make_spec(targets=tasks, samples=75)
    model = small(spec, merge=merge).eval()
    out: Output = model(make_batch(spec, 1))
    assert out.predictions.shape == (1, tasks)
    assert told(out.splits).shape[1] == tasks + 1
    assert told(out.private).shape == (1, tasks)
    assert (out.gates is not None) == (merge == "gate")
    if merge == "gate":
        assert ((told(out.gates) > 0) & (told(out.gates) < 1)).all()


@pytest.mark.parametrize("absent", ["waveform", "features", "waveform by setting"])
def test_each_input_works_alone(make_spec: MakeSpec, make_batch: MakeBatch, absent: str) -> None:
    spec = {
        "waveform": make_spec(channels=0, samples=0),
        "features": make_spec(features=0),
        "waveform by setting": make_spec(),
    }[absent]
    model = small(spec, use_waveform=absent != "waveform by setting")
    assert model.uses_waveform == (absent == "features")
    out = model(make_batch(spec))
    out.predictions.sum().backward()
    assert torch.isfinite(out.predictions).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(make_spec: MakeSpec, make_batch: MakeBatch, dtype: torch.dtype) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    reference = small(spec).eval()(batch).predictions
    model = small(spec).eval()
    if dtype == torch.float64:
        double = Batch(batch.waveform.double(), batch.values.double(), batch.missing, batch.targets, batch.weight)
        answer = model.double()(double).predictions
        assert answer.dtype == torch.float64
        assert torch.allclose(answer.float(), reference, atol=1e-5)
    else:
        with torch.autocast("cpu", dtype=dtype):
            answer = model(batch).predictions
        assert torch.allclose(answer.float(), reference, atol=0.05)


# ------------------------------------------------------------------------------------------------------ gradient routing
def gradients(model: nn.Module, name: str) -> dict[str, Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if n.startswith(name) and p.grad is not None}


@pytest.mark.parametrize("task", [0, 1, 2])
@pytest.mark.parametrize("merge", MERGES)
def test_a_task_teaches_only_its_own_split_and_the_shared_one(
    make_spec: MakeSpec, make_batch: MakeBatch, merge: str, task: int
) -> None:
    spec = make_spec(targets=3)
    model = small(spec, merge=merge)
    model(make_batch(spec)).predictions[:, task].square().sum().backward()
    for name, grad in gradients(model, "splitter.").items():
        for split in range(4):
            taught = bool((grad[split] != 0).any())
            if split == task + 1:
                assert taught or name.endswith("keys.bias")  # a common offset of all keys never matters
            elif split != 0:
                assert not taught, (name, split)
            elif not name.endswith("keys.bias"):
                assert taught == (merge != "none"), (name, split)
    for part in ("heads.", "merger."):
        for grad in (g for n, g in gradients(model, part).items() if "shared" not in n):
            assert all(not (grad[t] != 0).any() for t in range(3) if t != task)
            assert (grad[task] != 0).any() or grad[task].numel() == grad[task].shape[-1]
    assert all((g != 0).any() for n, g in gradients(model, "tokens.waveform.encoder").items() if n.endswith("weight"))


def test_ordered_pressures_hold_for_an_untrained_network(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model = small(spec, ordered=True, min_pulse_pressure_mmhg=10.0)
    mean, scale = torch.tensor([128.0, 72.0]), torch.tensor([20.0, 11.0])
    model.answers.set_target_scale(mean, scale)
    answer = mean + scale * model(make_batch(spec, 200)).predictions
    assert (answer[:, 0] - answer[:, 1] >= 10.0 - 1e-3).all()
    assert torch.equal(model.state_dict()["answers.target_mean"], mean)


# ------------------------------------------------------------------------------------------------------------ equivalences
def test_open_masks_and_concatenation_are_hard_sharing_with_a_doubled_head(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    split = small(spec, merge="concat").eval()
    with torch.no_grad():
        linear(split.splitter.logits).weight.zero_()
        linear(split.splitter.logits).bias.fill_(100.0)  # σ(100) is exactly 1 in float32
    words = {k: v for k, v in SMALL.items() if k != "heads"}
    hard = hard_sharing(HardSharingSettings(**words, trunk_layers=0), spec).eval()
    hard.tokens.load_state_dict(split.tokens.state_dict())
    doubled = dict(split.heads.state_dict())
    weight = doubled["hidden.weight"]
    doubled["hidden.weight"] = weight[:, :8] + weight[:, 8:]
    hard.heads.load_state_dict(doubled)
    batch = make_batch(spec)
    assert (told(split(batch).masks) == 1.0).all()
    assert torch.allclose(split(batch).predictions, hard(batch).predictions, atol=1e-6)


@pytest.mark.parametrize("merge", MERGES)
def test_permuting_tasks_with_their_parameters_permutes_answers(make_spec: MakeSpec, make_batch: MakeBatch, merge: str) -> None:
    spec = make_spec(targets=3)
    order = [2, 0, 1]
    model = small(spec, merge=merge).eval()
    with torch.no_grad():
        told(model.answers.skip.weight if model.answers.skip else None).normal_()
    other = small(make_spec(targets=3), seed=1, merge=merge).eval()
    by_split = [0, *(t + 1 for t in order)]
    state = {}
    for name, value in model.state_dict().items():
        permuted = name.startswith(("merger.", "heads.", "private.", "answers.")) and "merger.shared" not in name
        state[name] = value[by_split] if name.startswith("splitter.") else value[order] if permuted else value
    other.load_state_dict(state)
    batch = make_batch(spec)
    assert torch.allclose(other(batch).predictions, model(batch).predictions[:, order], atol=1e-6)


def test_the_order_of_windows_in_a_batch_does_not_matter(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model, batch = small(spec).eval(), make_batch(spec)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = Batch(*(getattr(batch, name)[order] for name in ("waveform", "values", "missing", "targets", "weight")))
    assert torch.allclose(model(shuffled).predictions, model(batch).predictions[order], atol=1e-6)
    one = Batch(*(getattr(batch, name)[:1] for name in ("waveform", "values", "missing", "targets", "weight")))
    assert torch.allclose(model(one).predictions, model(batch).predictions[:1], atol=1e-6)


def test_the_same_seed_gives_the_same_network(make_spec: MakeSpec) -> None:
    first, same, other = (small(make_spec(), seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_paper_mode_has_no_extension(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model = small(spec, paper_mode=True)
    assert model.answers.skip is None
    assert model.private is None
    assert model(make_batch(spec)).private is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"width": 10, "heads": 4}, "divide width"),
        ({"temperature": 0.0}, "temperature"),
        ({"min_pulse_pressure_mmhg": -1.0}, "min_pulse_pressure"),
        ({"stride": 3}, "stride"),
    ],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitMergeSettings(**words)


# ---------------------------------------------------------------------------------------------------------------- the table
def test_hard_sharing_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="trunk_layers"):
        HardSharingSettings(trunk_layers=-1)
    with pytest.raises(ValueError, match="min_pulse_pressure"):
        HardSharingSettings(min_pulse_pressure_mmhg=-1.0)


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_every_model_answers_every_target(
    make_spec: MakeSpec, make_affect_spec: MakeSpec, make_batch: MakeBatch, name: str
) -> None:
    spec = make_affect_spec() if name == "histn" else make_spec()
    model = models.build(name, models.MODELS[name].settings(width=8), spec)
    out = model(make_batch(spec))
    assert out.predictions.shape == (12, 2)
    out.predictions.sum().backward()
    rebuilt = models.rebuild(name, {"width": 8}, spec)
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt.eval()(make_batch(spec)).predictions, model.eval()(make_batch(spec)).predictions)


def test_wrong_words_get_an_answer(make_spec: MakeSpec) -> None:
    spec = make_spec()
    with pytest.raises(RecipeError, match="did you mean 'split_merge'"):
        models.build("split_merg", SplitMergeSettings(), spec)
    with pytest.raises(RecipeError, match="choose from"):
        models.build("zzz", SplitMergeSettings(), spec)
    with pytest.raises(RecipeError, match="needs HardSharingSettings"):
        models.build("hard_sharing", SplitMergeSettings(), spec)
    with pytest.raises(RecipeError, match="neither"):
        models.build("split_merge", SplitMergeSettings(), InputSpec((), 0, (), ("sbp",)))
    with pytest.raises(RecipeError, match="another version"):
        models.rebuild("split_merge", {"widht": 8}, spec)
