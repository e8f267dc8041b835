"""Laws of DTRN: groups of tokens, generated extractors, gates that weigh, symmetry of tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl.models.dtrn import DtrnSettings, OwnBottoms, Row, dtrn, row_of
from biosig_mtl.models.network import Network
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0, "rank": 5, "code_size": 6}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return dtrn(DtrnSettings(**{**SMALL, **words}), spec)


def body_of(model: Network) -> OwnBottoms:
    return cast("OwnBottoms", model.body)


def mean(x: Tensor, axis: int = 0) -> Tensor:
    assert axis >= 0
    return x.mean(-2)


def test_a_row_knows_its_groups() -> None:
    row = Row(("waveform", "a", "b"), (0, 1, 2))
    assert row.counts(7) == (4, 1, 2)
    spread = row.spread(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), 1, 5)
    assert torch.equal(spread, torch.tensor([[1.0, 1.0, 2.0, 3.0, 3.0], [4.0, 4.0, 5.0, 6.0, 6.0]]))
    assert torch.equal(row.spread(torch.arange(6.0).view(3, 2), 0, 4)[:, 1], torch.tensor([1.0, 3.0, 5.0, 5.0]))


def test_groups_have_names_of_their_own(make_affect_spec: MakeSpec, make_spec: MakeSpec) -> None:
    for spec in (make_affect_spec(), replace(make_affect_spec(), waveform_channels=("ppg",), samples=64), make_spec()):
        for montage in (False, True):
            model = small(spec, montage=montage)
            names = row_of(model.tokens.groups, spec.features).names
            assert len(set(names)) == len(names) == len(model.tokens.groups)
    assert row_of(small(make_spec()).tokens.groups, make_spec().features).names == ("waveform", "pulse", "hr", "person")
    affect = make_affect_spec()
    expected = ("track.eeg", "track.eda", "eeg_de", "eda", "hr")
    assert row_of(small(affect).tokens.groups, affect.features).names == expected


@pytest.mark.parametrize("acts", ["groups", "features"])
def test_the_network_is_its_equations(make_spec: MakeSpec, acts: str) -> None:
    body = body_of(small(make_spec(targets=3), gate_acts=acts, trunk_layers=0))
    tokens = torch.randn(4, 7, 8)  # four of the waveform, then three families
    group = [0, 0, 0, 0, 1, 2, 3]
    made = body(tokens, mean).embedding
    e, gate = body.extractor, body.gate
    for t in range(3):
        x = torch.empty_like(tokens)
        for n, g in enumerate(group):
            code = torch.cat([e.task_codes[t], e.group_codes[g]])
            own = (e.hyper.weight @ code + e.hyper.bias).view(5, 6) / 5**0.5
            inner = (own[:, :5] @ (e.down.weight @ tokens[:, n].T)).T + own[:, 5]
            x[:, n] = tokens[:, n] + inner.clamp(min=0) @ e.up.weight.T + e.up.bias
        hidden = (x.mean(1) @ gate.squeeze.weight[t] + gate.squeeze.bias[t]).clamp(min=0)
        gates = torch.sigmoid(hidden @ gate.excite.weight[t] + gate.excite.bias[t])
        weighed = x * gates[:, group][..., None] if acts == "groups" else x * gates[:, None]
        torch.testing.assert_close(made[:, t], weighed.mean(1))


@pytest.mark.parametrize("acts", ["groups", "features"])
def test_a_loss_reaches_its_own_bottom_alone(make_spec: MakeSpec, make_batch: MakeBatch, acts: str) -> None:
    spec = make_spec(targets=3)
    model = small(spec, gate_acts=acts)
    model(make_batch(spec)).predictions[:, 1].sum().backward()
    for name, parameter in model.body.named_parameters():
        gradient = parameter.grad
        assert gradient is not None
        assert gradient.any(), name
        if name.startswith("gate.") or name.endswith("task_codes"):
            assert gradient[1].any()
            assert not gradient[[0, 2]].any()


def test_a_closed_gate_takes_a_family_away_from_its_task(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=2)
    model = small(spec, linear_skip=False).eval()
    gate = body_of(model).gate
    with torch.no_grad():  # gates of nothing but their offset, and the second task does not take the heart rate
        gate.excite.weight.zero_()
        gate.excite.bias[1, 0, body_of(model).row.names.index("hr")] = -1e9
    batch = make_batch(spec)
    columns = [i for i, name in enumerate(spec.features) if name.startswith("hr.")]
    other = replace(batch, values=batch.values.clone(), missing=torch.zeros_like(batch.missing))
    batch = replace(batch, missing=torch.zeros_like(batch.missing))
    other.values[:, columns] += 3.0
    before, after = model(batch).predictions, model(other).predictions
    assert torch.equal(before[:, 1], after[:, 1])
    assert not torch.allclose(before[:, 0], after[:, 0])


def test_gates_of_groups_are_shown(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=2)
    model = small(spec)
    nn.init.normal_(body_of(model).gate.excite.weight)
    out = model(make_batch(spec))
    assert set(out.weights) == set(model.shown) == {"fields.sbp", "fields.dbp"}
    for name, gates in out.weights.items():
        assert gates.shape == (12, len(model.shown[name]))
        assert ((gates > 0) & (gates < 1)).all()
        assert not torch.allclose(gates[0], gates[1])
    assert not torch.allclose(out.weights["fields.sbp"], out.weights["fields.dbp"])
    assert small(spec, gate_acts="features").shown == {}


@pytest.mark.parametrize("acts", ["groups", "features"])
def test_the_order_of_tasks_does_not_matter(make_spec: MakeSpec, make_batch: MakeBatch, acts: str) -> None:
    order = [2, 0, 1]
    spec = make_spec(targets=3)
    model, other = (small(spec, gate_acts=acts).eval() for _ in range(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    state = model.state_dict()
    for name, value in state.items():
        if name.startswith(("heads.", "answers.", "body.gate.")) or name.endswith("task_codes"):
            state[name] = value[order]
    other.load_state_dict(state)
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order])
    assert not torch.allclose(other(batch).predictions, model(batch).predictions)


@pytest.mark.parametrize("samples", [75, 128, 333])
def test_waveforms_of_any_length_and_one_task(make_spec: MakeSpec, make_batch: MakeBatch, samples: int) -> None:
    spec = make_spec(targets=1, samples=samples)
    out = small(make_spec(targets=1))(make_batch(spec, 1))
    assert torch.isfinite(out.predictions).all()


@pytest.mark.parametrize("montage", [False, True])
@pytest.mark.parametrize("pool", ["balanced", "mean", "learnt"])
def test_several_modalities(make_affect_spec: MakeSpec, make_batch: MakeBatch, pool: str, montage: bool) -> None:
    spec = make_affect_spec()
    model = small(spec, pool=pool, montage=montage)
    out = model(make_batch(spec))
    assert torch.isfinite(out.predictions).all()
    assert {"fields.valence", "electrodes.eeg"} <= set(out.weights)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"code_size": 0}, "code_size, rank and reduction >= 1"),
        ({"rank": 0}, "got 16, 0, 4, 1"),
        ({"trunk_layers": -1}, "trunk_layers >= 0"),
        ({"gate_acts": "tokens"}, "got tokens"),
    ],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DtrnSettings(**words)
