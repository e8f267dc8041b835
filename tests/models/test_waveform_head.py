"""Laws of the waveform head: one curve at any resolution, phase from time steps, nothing drawn and nothing else changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from biosig_mtl.models import build
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.models.waveform_head import FUNCTIONS, Steps, WaveformHead, times
from biosig_mtl.types import InputSpec, RecipeError
from tests.models.conftest import MakeBatch, MakeSpec

PLAIN = SplitMergeSettings(width=16, heads=2, stride=16, dropout=0.0)
TOLD = replace(PLAIN, waveform_head=True, waveform_points=20)


def head_for(width: int = 8, steps: Steps | None = None, seed: int = 0) -> WaveformHead:
    torch.manual_seed(seed)
    return WaveformHead(width, steps or Steps(0.0, 0.125))


def network(settings: SplitMergeSettings, spec: InputSpec, seed: int = 0) -> SplitMerge:
    torch.manual_seed(seed)
    made = build("split_merge", settings, spec)
    assert isinstance(made, SplitMerge)
    return made


# ---------------------------------------------------------------------------------------------------------- the head by itself
def test_values_at_shared_points_are_the_same_at_every_resolution() -> None:
    head, tokens, pooled = head_for(), torch.randn(3, 8, 8), torch.randn(3, 8)
    fine = head(tokens, pooled, times(240))
    for points in (10, 40, 120):
        torch.testing.assert_close(head(tokens, pooled, times(points)), fine[:, :: 240 // points], rtol=1e-5, atol=1e-5)


def test_a_point_does_not_depend_on_which_others_are_asked_for() -> None:
    head, tokens, pooled = head_for(), torch.randn(2, 8, 8), torch.randn(2, 8)
    alone = torch.cat([head(tokens, pooled, torch.tensor([s])) for s in (0.91, 0.13, 0.5)], dim=1)
    torch.testing.assert_close(head(tokens, pooled, torch.tensor([0.91, 0.13, 0.5])), alone, rtol=1e-5, atol=1e-5)


def test_the_curve_has_no_jumps_where_steps_hand_over() -> None:
    head, tokens, pooled = head_for(), torch.randn(2, 8, 8), torch.randn(2, 8)
    near = torch.tensor([0.125, 0.375, 0.625])
    left, right = head(tokens, pooled, near - 1e-5), head(tokens, pooled, near + 1e-5)
    assert float((left - right).detach().abs().max()) < 1e-3 < float(head(tokens, pooled, times(50)).detach().std())


def test_hats_sum_to_one_also_before_the_first_step_and_after_the_last() -> None:
    head = head_for(steps=Steps(0.06, 0.12))
    # A trunk that says 1 everywhere leaves the hats alone.
    for p in head.trunk.parameters():
        p.data.zero_()
    last = head.trunk[-1]
    assert isinstance(last, nn.Linear)
    last.bias.data.fill_(1.0)
    basis = head.basis(times(97), 7)
    assert basis.shape == (97, 7, FUNCTIONS)
    torch.testing.assert_close(basis.sum(1), torch.ones(97, FUNCTIONS))
    assert (basis >= 0).all()
    assert ((basis[..., 0] > 0).sum(1) <= 2).all()


def test_a_step_speaks_of_its_own_time_only() -> None:
    head, tokens, pooled = head_for(), torch.randn(1, 8, 8), torch.randn(1, 8)
    moved = tokens.clone()
    moved[0, 3] += 1.0
    changed = (head(moved, pooled, times(80)) - head(tokens, pooled, times(80))).abs()[0] > 1e-6
    # Step 3 of 8 lies at 0.375, and reaches one step to either side.
    assert torch.equal(changed.nonzero().flatten(), torch.arange(21, 40))


def test_a_scale_is_told_and_travels_with_the_weights() -> None:
    head, other = head_for(), head_for(seed=1)
    torch.testing.assert_close(head.in_units(torch.tensor([[-1.0, 2.0]])), torch.tensor([[-1.0, 2.0]]))
    head.set_scale(90.0, 20.0)
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other.in_units(torch.tensor([[-1.0, 0.0, 2.0]])), torch.tensor([[70.0, 90.0, 130.0]]))


@pytest.mark.parametrize(("first", "step"), [(0.0, 0.0), (-0.1, 0.5)])
def test_nonsense_steps_are_refused(first: float, step: float) -> None:
    with pytest.raises(ValueError, match="need first >= 0 and step > 0"):
        Steps(first, step)


def test_patches_lie_in_their_middle_and_empty_windows_are_refused() -> None:
    assert Steps.of("patch", 11, 110) == Steps(5 / 110, 0.1)
    with pytest.raises(ValueError, match="need samples >= 1"):
        Steps.of("conv", 32, 0)
    with pytest.raises(ValueError, match="need points >= 1, got 0"):
        times(0)


# -------------------------------------------------------------------------------------------------------- in Split 'n' Merge
def test_off_there_is_no_head_and_no_waveform(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model = network(PLAIN, spec)
    assert not [name for name in model.state_dict() if name.startswith("waveform_head")]
    assert model(make_batch(spec)).reference is None
    with pytest.raises(RecipeError, match=r"no waveform head: set model\.waveform_head"):
        model.waveform(make_batch(spec), 10)


def test_answers_are_bit_for_bit_those_without_the_head(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    said = []
    for settings in (replace(PLAIN, dropout=0.3), replace(TOLD, dropout=0.3)):
        model = network(settings, spec).train()
        torch.manual_seed(5)
        said.append((model(batch), torch.rand(3)))
    (plain, after), (told, after_told) = said
    for name in ("predictions", "masks", "splits", "private"):
        assert torch.equal(getattr(plain, name), getattr(told, name)), name
    assert torch.equal(after, after_told)


@pytest.mark.parametrize(
    "changes",
    [{}, {"shared_split": False, "merge": "concat"}, {"encoder": "patch"}, {"pool": "mean"}, {"merge": "gate"}],
    ids=str,
)
def test_the_waveform_comes_at_the_points_asked_for(
    changes: dict[str, object], make_spec: MakeSpec, make_batch: MakeBatch
) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    model = network(replace(TOLD, **changes), spec).eval()  # type: ignore[arg-type]
    told = model(batch).reference
    assert told is not None
    assert told.shape == (12, 20)
    fine = model.waveform(batch, 60)
    torch.testing.assert_close(fine[:, ::3], told, rtol=1e-5, atol=1e-5)


def test_a_window_is_told_alike_in_any_company(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model, batch = network(TOLD, spec).eval(), make_batch(spec)
    alone = replace(
        batch, waveform=batch.waveform[:1], values=batch.values[:1], missing=batch.missing[:1],
        targets=batch.targets[:1], weight=batch.weight[:1],
    )  # fmt: skip
    torch.testing.assert_close(model.waveform(alone, 30), model.waveform(batch, 30)[:1], rtol=1e-5, atol=1e-5)


def test_the_reference_itself_is_never_looked_at(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model, batch = network(TOLD, spec).eval(), make_batch(spec)
    seen = model(replace(batch, reference=torch.full((12, 128), 1e6)))
    blind = model(batch)
    assert torch.equal(seen.predictions, blind.predictions)
    assert torch.equal(seen.reference, blind.reference)


def test_its_loss_teaches_encoder_and_shared_split_and_no_task(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model = network(TOLD, spec)
    made = model(make_batch(spec))
    assert made.splits is not None
    slope = torch.autograd.grad(made.reference.square().sum(), made.splits, retain_graph=True)[0]
    assert slope[:, 0].abs().max() > 0
    assert torch.equal(slope[:, 1:], torch.zeros_like(slope[:, 1:]))
    made.reference.square().sum().backward()
    for name, p in model.named_parameters():
        if name.startswith(("heads", "private", "merger", "answers")):
            assert p.grad is None, name
        if name.startswith(("tokens.waveform", "waveform_head")):
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0 or "embedding" in name, name


def test_paper_mode_has_no_head(make_spec: MakeSpec) -> None:
    assert network(replace(TOLD, paper_mode=True), make_spec()).waveform_head is None


def test_without_time_steps_there_is_nothing_to_tell_time_from(make_spec: MakeSpec) -> None:
    for settings, spec in ((replace(TOLD, use_waveform=False), make_spec()), (TOLD, make_spec(samples=0))):
        with pytest.raises(RecipeError, match="need use_waveform and windows with a waveform for a waveform_head"):
            build("split_merge", settings, spec)


def test_no_points_are_refused() -> None:
    with pytest.raises(ValueError, match="need waveform_points >= 1, got 0"):
        replace(TOLD, waveform_points=0)
