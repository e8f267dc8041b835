"""Laws of the independence terms, and the measured facts that chose the default."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training.independence import (
    Independence,
    IndependenceTerm,
    Pairs,
    VClub,
    choose_pairs,
    pooled,
    projection,
    ramp,
    standardise,
    uhsic,
    xcov,
)
from biosig_mtl.types import Batch, InputSpec


def correlated(rho: float, n: int, d: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    x, noise = torch.randn(n, d, generator=rng), torch.randn(n, d, generator=rng)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def biased_nhsic(v: Tensor) -> Tensor:
    """The usual biased estimate, for comparison."""
    distance = torch.cdist(v, v).square()
    n = v.shape[1]
    centre = torch.eye(n) - 1 / n
    upper = torch.triu_indices(n, n, 1)
    kernels = [centre @ torch.exp(-d / d[upper[0], upper[1]].median()) @ centre for d in distance]
    cross = (kernels[0] * kernels[1]).sum()
    return cross / torch.sqrt(kernels[0].square().sum() * kernels[1].square().sum())


@pytest.mark.parametrize(("n", "d", "floor"), [(64, 8, 0.15), (64, 32, 0.45), (256, 32, 0.2)])
def test_uhsic_of_independent_splits_is_zero_where_the_biased_estimate_has_a_floor(n: int, d: int, floor: float) -> None:
    rng = torch.Generator().manual_seed(0)
    values = torch.stack([uhsic(standardise(torch.randn(2, n, d, generator=rng)))[0, 1] for _ in range(200)])
    assert abs(values.mean().item()) < 0.01
    assert biased_nhsic(standardise(torch.randn(2, n, d, generator=rng))).item() > floor


def test_uhsic_equals_the_formula_of_song() -> None:
    rng = torch.Generator().manual_seed(0)
    v = torch.randn(2, 12, 3, generator=rng, dtype=torch.float64)
    n = 12

    def kernel(x: Tensor) -> Tensor:
        distance = torch.cdist(x, x).square()
        upper = torch.triu_indices(n, n, 1)
        k = torch.exp(-distance / distance[upper[0], upper[1]].median())
        return k - torch.diag(k.diagonal())

    def song(k: Tensor, m: Tensor) -> Tensor:
        first = torch.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m).sum()
        return first / (n * (n - 3))

    a, b = kernel(v[0]), kernel(v[1])
    assert uhsic(v)[0, 1].item() == pytest.approx((song(a, b) / torch.sqrt(song(a, a) * song(b, b))).item(), rel=1e-9)


def test_uhsic_grows_with_dependence_and_is_one_for_a_copy() -> None:
    rng = torch.Generator().manual_seed(0)
    told = []
    for rho in (0.0, 0.3, 0.6, 0.9, 1.0):
        pair = torch.stack(correlated(rho, 256, 4, rng))
        told.append(uhsic(standardise(pair))[0, 1].item())
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0, abs=1e-4)


def test_uhsic_sees_what_cross_covariance_does_not() -> None:
    x = torch.randn(256, 1, generator=torch.Generator().manual_seed(0))
    v = standardise(torch.stack([x, x.square()]))
    assert uhsic(v)[0, 1] > 0.1
    assert xcov(v)[0, 1] < 0.1


@pytest.mark.parametrize("measure", [uhsic, xcov])
def test_scale_and_order_of_the_batch_do_not_matter(measure: object) -> None:
    assert callable(measure)
    rng = torch.Generator().manual_seed(0)
    v = torch.stack(correlated(0.6, 64, 8, rng))
    order = torch.randperm(64, generator=rng)
    expected = measure(standardise(v))
    assert torch.allclose(measure(standardise(torch.tensor([[[0.05]], [[30.0]]]) * v)), expected, atol=2e-3)
    assert torch.allclose(measure(standardise(v[:, order])), expected, atol=1e-5)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_vclub_is_not_below_the_true_mutual_information_once_fitted(rho: float) -> None:
    rng = torch.Generator().manual_seed(0)
    d = 4
    club = VClub(1, d, fixed_variance=False)
    for _ in range(150):
        x, y = correlated(rho, 256, d, rng)
        club.learn(x[None], y[None])
    x, y = correlated(rho, 4096, d, rng)
    truth = -0.5 * d * math.log(1 - rho**2)
    assert club.estimate(x[None], y[None]).item() > truth


def test_vclub_equals_the_sum_over_all_partners() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(1, 9, 3, generator=rng) for _ in range(2))
    club = VClub(1, 3, fixed_variance=False)
    mean, log_variance = club.critic(x)
    joint = club._log_q(mean, log_variance, y)
    apart = torch.stack([club._log_q(mean, log_variance, y[:, [j]].expand_as(y)) for j in range(9)]).mean(0)
    assert torch.allclose(club.estimate(x, y), (joint - apart).mean(1), atol=1e-5)


def test_the_critic_learns_from_its_own_loss_only_and_gives_no_gradient_while_learning() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, 32, 3, generator=rng, requires_grad=True)
    y = torch.randn(1, 32, 3, generator=rng, requires_grad=True)
    club = VClub(1, 3)
    club.learn(x, y)
    assert x.grad is None
    club.optimiser.zero_grad()
    club.estimate(x, y).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in club.critic.parameters())
    assert x.grad is not None


# ------------------------------------------------------------------------------------------------------------------- term
@pytest.mark.parametrize(
    ("pairs", "expected"), [("all", [(0, 1), (0, 2), (1, 2)]), ("private", [(1, 2)]), ("shared_private", [(0, 1), (0, 2)])]
)
def test_pairs(pairs: Pairs, expected: list[tuple[int, int]]) -> None:
    assert choose_pairs(3, pairs) == expected


def test_the_projection_is_fixed_orthonormal_and_only_there_for_wide_splits() -> None:
    assert projection(32) is None
    matrix = projection(48)
    assert matrix is not None
    assert torch.allclose(matrix.T @ matrix, torch.eye(32, dtype=torch.float64), atol=1e-10)
    assert torch.equal(matrix, projection(48))  # type: ignore[arg-type]
    assert not matrix.requires_grad


def test_pooled_splits_are_standard() -> None:
    v = pooled(3.0 * torch.randn(40, 3, 5, 48, generator=torch.Generator().manual_seed(0)) + 7.0, projection(48))
    assert v.shape == (3, 40, 32)
    assert torch.allclose(v.mean(1), torch.zeros(3, 32), atol=1e-5)
    assert torch.allclose(v.square().mean(1), torch.ones(3, 32), atol=1e-3)


@pytest.mark.parametrize("kind", ["uhsic", "vclub", "xcov"])
def test_small_batches_are_skipped_and_counted(kind: Independence) -> None:
    term = IndependenceTerm(kind, "all", 3, 8)
    assert term(torch.randn(7, 3, 2, 8)) is None
    assert term.skipped == 1
    assert term(torch.randn(8, 3, 2, 8)) is not None
    again = IndependenceTerm(kind, "all", 3, 8)
    again.load_state_dict(term.state_dict())
    assert again.skipped == 1
    assert math.isnan(term.critic_log_likelihood) == (kind != "vclub")


def test_term_refusals() -> None:
    with pytest.raises(ValueError, match="other than none"):
        IndependenceTerm("none", "all", 3, 8)
    with pytest.raises(ValueError, match="need a pair"):
        IndependenceTerm("uhsic", "private", 2, 8)


@pytest.mark.parametrize("kind", ["uhsic", "xcov", "vclub"])
def test_a_constant_split_gives_finite_gradients(kind: Independence) -> None:
    splits = torch.randn(16, 3, 2, 8, generator=torch.Generator().manual_seed(0))
    splits[:, 1] = 0.3
    splits.requires_grad_()
    told = IndependenceTerm(kind, "all", 3, 8)(splits)
    assert told is not None
    told.backward()  # type: ignore[no-untyped-call]
    assert splits.grad is not None
    assert torch.isfinite(splits.grad).all()


def _network_and_batch(size: int) -> tuple[SplitMerge, Batch]:
    torch.manual_seed(0)
    spec = InputSpec(("ppg",), 64, ("pulse.a", "hr.b"), ("sbp", "dbp"))
    model = SplitMerge(SplitMergeSettings(width=16, stride=8, dropout=0.0), spec)
    rng = torch.Generator().manual_seed(1)
    waveform, values = torch.randn(size, 1, 64, generator=rng), torch.randn(size, 2, generator=rng)
    return model, Batch(waveform, values, torch.zeros(size, 2).bool(), torch.zeros(size, 2), torch.ones(size))


def test_the_term_teaches_every_split_and_the_encoder_but_no_merge_and_no_head() -> None:
    model, batch = _network_and_batch(16)
    told = IndependenceTerm("uhsic", "all", 3, 16)(model(batch).splits)
    assert told is not None
    told.backward()  # type: ignore[no-untyped-call]
    for name, p in model.named_parameters():
        if name.startswith(("merger", "heads", "private", "answers")):
            assert p.grad is None, name
        elif name.startswith("splitter") and not name.endswith("keys.bias"):
            assert p.grad is not None
            assert all((p.grad[k] != 0).any() for k in range(3)), name
    encoder = [p.grad for n, p in model.named_parameters() if n.startswith("tokens.waveform.encoder") and n.endswith("weight")]
    assert all(g is not None and (g != 0).any() for g in encoder)


def test_the_term_alone_makes_splits_distinct_not_small() -> None:
    model, train = _network_and_batch(128)
    rng = torch.Generator().manual_seed(2)
    held = Batch(torch.randn(256, 1, 64, generator=rng), torch.randn(256, 2, generator=rng), torch.zeros(256, 2).bool(),
                 torch.zeros(256, 2), torch.ones(256))  # fmt: skip
    term = IndependenceTerm("uhsic", "all", 3, 16)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)

    def look() -> tuple[float, float]:
        with torch.no_grad():
            splits = model(held).splits
        assert splits is not None
        gram = uhsic(pooled(splits, None))
        return float(gram[[0, 0, 1], [1, 2, 2]].mean()), float(splits.mean(2).std(0).mean())

    before = look()
    for _ in range(200):
        rows = torch.randint(0, 128, (48,), generator=rng)
        part = Batch(train.waveform[rows], train.values[rows], train.missing[rows], train.targets[rows], train.weight[rows])
        told = term(model(part).splits)
        assert told is not None
        optimiser.zero_grad()
        told.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    after = look()
    assert before[0] > 0.7
    assert after[0] < 0.5 * before[0]
    assert after[1] > 0.5 * before[1]


def test_ramp_is_linear() -> None:
    assert [ramp(e, 4) for e in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert ramp(0, 0) == 1.0
