"""Laws of single-task networks: nothing in common, and each is hard sharing of one task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.network import Network
from biosig_mtl.models.single_task import SingleTask, SingleTaskSettings
from biosig_mtl.types import Batch, Head, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> SingleTask:
    torch.manual_seed(seed)
    return SingleTask(SingleTaskSettings(**{**SMALL, **words}), spec)


def shared(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return hard_sharing(HardSharingSettings(**{**SMALL, **words}), spec)


def of_task(name: str, gradient: Tensor, t: int, tasks: int) -> Tensor:
    """Return the part of a gradient that belongs to a task."""
    if name.startswith("columns."):
        return gradient if name.split(".")[1] == str(t) else gradient.new_zeros(0)
    return gradient.reshape(tasks, -1)[t]


def named(found: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name.replace("columns.0.", ""), value) for name, value in found.named_parameters()]


@pytest.mark.parametrize("kind", ["", "ordinal", "rasch"])
def test_a_loss_reaches_its_own_network_alone(make_affect_spec: MakeSpec, make_batch: MakeBatch, kind: str) -> None:
    tasks = 3
    heads = (Head(kind, edges=(2.0, 4.0)),) * tasks if kind else ()  # type: ignore[arg-type]
    spec = replace(make_affect_spec(targets=tasks, heads=heads), waveform_channels=("ppg",), samples=64)
    batch = make_batch(spec)
    for t in range(tasks):
        model = small(spec, pool="learnt", trunk_layers=2)
        model(batch).predictions[:, t].square().sum().backward()
        reached = 0
        for name, parameter in model.named_parameters():
            gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            for r in set(range(tasks)) - {t}:
                assert not of_task(name, gradient, r, tasks).any(), f"{name} of task {r}"
            reached += bool(of_task(name, gradient, t, tasks).any())
        # All encoders, the trunk, the head and the row of the skip are there to be reached.
        assert reached > 0.8 * len(named(shared(spec, pool="learnt", trunk_layers=2)))


@pytest.mark.parametrize("words", [{}, {"trunk_layers": 0, "pool": "mean"}, {"linear_skip": False, "dropout": 0.3}], ids=str)
def test_one_task_is_hard_sharing_of_it(make_spec: MakeSpec, make_batch: MakeBatch, words: dict[str, Any]) -> None:
    spec = make_spec(targets=1)
    one, other = small(spec, 5, **words), shared(spec, 5, **words)
    mine, theirs = named(one), list(other.named_parameters())
    assert [name for name, _ in mine] == [name for name, _ in theirs]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(mine, theirs, strict=True))
    batch = make_batch(spec)
    for train in (False, True):
        answers = []
        for model in (one.train(train), other.train(train)):
            torch.manual_seed(1)
            answers.append(model(batch).predictions)
        assert torch.equal(*answers)


def test_each_column_is_a_network_of_its_own(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_affect_spec(targets=3)
    model = small(spec).eval()
    assert model.answers.skip is not None
    nn.init.normal_(model.answers.skip.weight)
    batch = make_batch(spec)
    together = model(batch)
    looks = []
    for t, target in enumerate(spec.targets):
        alone = shared(replace(spec, targets=(target,))).eval()
        state = {name.removeprefix(f"columns.{t}."): value for name, value in model.state_dict().items()}
        for name in alone.state_dict():
            if name.startswith(("heads.", "answers.")):
                state[name] = state[name][t : t + 1]
        alone.load_state_dict({name: state[name] for name in alone.state_dict()})
        out = alone(batch)
        torch.testing.assert_close(out.predictions[:, 0], together.predictions[:, t])
        looks.append(out.weights["electrodes.eeg"])
    torch.testing.assert_close(together.weights["electrodes.eeg"], torch.stack(looks).mean(0))
    assert not torch.allclose(looks[0], looks[1])


def test_it_has_the_face_of_a_network(make_affect_spec: MakeSpec, make_spec: MakeSpec) -> None:
    for spec in (make_affect_spec(), make_spec()):
        for use in (True, False):
            one, other = small(spec, use_waveform=use, pool="learnt"), shared(spec, use_waveform=use, pool="learnt")
            assert one.uses_waveform == other.uses_waveform
            assert one.uses_tracks == other.uses_tracks
            assert one.shown == other.shown
            assert one.spec == other.spec
            assert sum(p.numel() for p in one.columns[1].parameters()) == sum(
                p.numel() for part in (other.tokens, other.body) for p in part.parameters()
            )


def test_features_pooled_over_electrodes_are_not_counted_by_the_skip(make_affect_spec: MakeSpec) -> None:
    spec = make_affect_spec()
    assert small(spec, montage=True).answers.seen == shared(spec, montage=True).answers.seen != list(range(len(spec.features)))


def test_the_kernel_stands_beside_in_evaluation_only(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model, batch = small(spec, kernel_landmarks=4), make_batch(spec)
    kernel = model.beside
    assert kernel is not None
    before = model.train()(batch).predictions
    kernel.share.fill_(1.0)
    kernel.offset.fill_(7.0)
    assert torch.equal(model(batch).predictions, before)
    torch.testing.assert_close(model.eval()(batch).predictions, torch.full((12, 2), 7.0))


@pytest.mark.parametrize(
    ("words", "message"),
    [({"ordered": True}, "ordered false"), ({"trunk_layers": -1}, "trunk_layers"), ({"width": 2}, "width")],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SingleTaskSettings(**words)
