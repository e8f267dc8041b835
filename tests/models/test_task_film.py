"""Laws of task FiLM: born as hard sharing, then a gain and an offset a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.network import Network
from biosig_mtl.models.task_film import Film, FilmedTrunk, TaskFilmSettings, task_film
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return task_film(TaskFilmSettings(**{**SMALL, **words}), spec)


def film_of(model: Network) -> Film:
    return cast("FilmedTrunk", model.body).film


def mean(x: Tensor, axis: int = 0) -> Tensor:
    assert axis >= 0
    return x.mean(-2)


def test_a_film_is_its_formula() -> None:
    torch.manual_seed(0)
    film = Film(3, 4, 2)
    x = torch.randn(5, 6, 4)
    assert torch.equal(film(x), x.expand(3, -1, -1, -1))  # born as identity
    nn.init.normal_(film.map.weight)
    made = film(x)
    for t in range(3):
        both = film.map.weight @ film.codes[t]
        torch.testing.assert_close(made[t], (1 + both[:4]) * x + both[4:])
    # Features of each task's own are modulated by itself as well.
    own = torch.randn(3, 5, 6, 4)
    torch.testing.assert_close(film(own)[1], film(own[1])[1])


@pytest.mark.parametrize("film_at", ["tokens", "pooled"])
def test_all_tasks_are_born_alike(make_spec: MakeSpec, film_at: str) -> None:
    body = small(make_spec(targets=3), film_at=film_at).body
    tokens = torch.randn(4, 5, 8)
    born = body(tokens, mean).embedding
    assert torch.equal(born, born[:, :1].expand(-1, 3, -1))
    nn.init.normal_(cast("FilmedTrunk", body).film.map.weight)
    grown = body(tokens, mean).embedding
    assert not torch.allclose(grown[:, 0], grown[:, 1])


def test_without_film_and_layers_behind_it_is_hard_sharing(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    model = small(spec, film_at="pooled", after="none", trunk_layers=2).eval()
    torch.manual_seed(1)
    other = hard_sharing(HardSharingSettings(**SMALL, trunk_layers=2), spec).eval()
    other.load_state_dict({name: value for name, value in model.state_dict().items() if ".film." not in name})
    assert torch.equal(model(batch).predictions, other(batch).predictions)


def test_without_layers_tokens_and_their_pool_are_the_same_place(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    batch = make_batch(spec)
    told = []
    for film_at in ("tokens", "pooled"):
        model = small(spec, film_at=film_at, after="none", trunk_layers=0).eval()
        nn.init.normal_(film_of(model).map.weight, generator=torch.Generator().manual_seed(0))
        told.append(model(batch).predictions)
    torch.testing.assert_close(*told)


@pytest.mark.parametrize("after", ["shared", "own", "none"])
@pytest.mark.parametrize("film_at", ["tokens", "pooled"])
def test_a_loss_reaches_its_own_code_alone(make_spec: MakeSpec, make_batch: MakeBatch, after: str, film_at: str) -> None:
    spec = make_spec(targets=3)
    model = small(spec, after=after, film_at=film_at)
    batch = make_batch(spec)
    model(batch).predictions[:, 1].sum().backward()
    codes, weight = film_of(model).codes, film_of(model).map.weight
    assert codes.grad is not None
    assert weight.grad is not None
    # Born as identity: codes wait until the map has left zero.
    assert not codes.grad.any()
    assert weight.grad.any()
    with torch.no_grad():
        weight -= 0.1 * weight.grad
    model.zero_grad()
    model(batch).predictions[:, 1].sum().backward()
    assert codes.grad is not None
    assert codes.grad[1].all()
    assert not codes.grad[[0, 2]].any()
    own = [p.grad for name, p in model.named_parameters() if after == "own" and ".after." in name]
    assert len(own) == (6 if after == "own" else 0)
    for gradient in own:
        assert gradient is not None
        assert gradient[1].any()
        assert not gradient[[0, 2]].any()


@pytest.mark.parametrize("after", ["shared", "own"])
@pytest.mark.parametrize("film_at", ["tokens", "pooled"])
def test_the_order_of_tasks_does_not_matter(make_spec: MakeSpec, make_batch: MakeBatch, after: str, film_at: str) -> None:
    order = [2, 0, 1]
    spec = make_spec(targets=3)
    model, other = (small(spec, after=after, film_at=film_at).eval() for _ in range(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    state = model.state_dict()
    for name, value in state.items():
        if name.startswith(("heads.", "answers.", "body.")) and len(value) == 3:
            state[name] = value[order]
    other.load_state_dict(state)
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order])
    assert not torch.allclose(other(batch).predictions, model(batch).predictions)


@pytest.mark.parametrize("after", ["shared", "own", "none"])
@pytest.mark.parametrize("film_at", ["tokens", "pooled"])
def test_one_task_and_one_window_work(make_spec: MakeSpec, make_batch: MakeBatch, after: str, film_at: str) -> None:
    spec = make_spec(targets=1)
    assert small(spec, after=after, film_at=film_at)(make_batch(spec, 1)).predictions.shape == (1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"code_size": 0}, "code_size >= 1"),
        ({"trunk_layers": -1}, "trunk_layers >= 0"),
        ({"film_at": "heads"}, "got heads"),
        ({"after": "both"}, "got both"),
    ],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskFilmSettings(**words)
