"""Laws of the GP adapter: textbook regression, no say for what is not there, gradients to all that is learnt."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from biosig_mtl.models.gp_adapter import (
    MOST_READINGS,
    CausalBlock,
    GpAdapter,
    GpSettings,
    Kernel,
    Observed,
    VitalsNetwork,
    VitalsSettings,
    hold_last,
    straight_line,
)
from biosig_mtl.types import DataError

ONE = GpSettings(1, -100.0, 0.0, points=9, length_s=30.0, noise=0.2, level=0.0)
THREE = GpSettings(3, -600.0, 0.0, points=7, length_s=200.0, noise=0.2)


def made(settings: GpSettings, between: Tensor | None = None) -> GpAdapter:
    """Return an adapter whose K_C is ``between``, 1 for one channel."""
    torch.manual_seed(0)
    adapter = GpAdapter(settings)
    with torch.no_grad():
        if settings.channels == 1:
            adapter.factor.zero_()
            adapter.log_own.zero_()
        elif between is not None:
            adapter.factor.zero_()
            adapter.factor[:, : between.shape[1]] = between
            adapter.log_own.fill_(-30.0)
    return adapter.eval()


def read(n: int = 12, windows: int = 3, channels: int = 3, start_s: float = -600.0, seed: int = 0) -> Observed:
    rng = np.random.default_rng(seed)
    shape = (windows, n)
    valid = rng.random(shape) < 0.8
    return Observed.of(
        rng.standard_normal(shape), rng.uniform(start_s, 0.0, shape), rng.integers(0, channels, shape), valid
    )  # fmt: skip


def number(x: Tensor) -> float:
    return float(x.detach())


def one_channel(values: Any, times_s: Any) -> Observed:
    row = np.atleast_2d(values)
    return Observed.of(row, np.atleast_2d(times_s), np.zeros(row.shape, int), np.ones(row.shape, bool))


# --------------------------------------------------------------------------------------------------------------- posterior
@pytest.mark.parametrize("kernel", ["ou", "rbf"])
@pytest.mark.parametrize("level", [0.0, 0.4])
def test_one_channel_is_textbook_regression(kernel: Kernel, level: float) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

    adapter = made(replace(ONE, kernel=kernel, level=level))
    rng = np.random.default_rng(0)
    times_s, values = np.sort(rng.uniform(-100, 0, 15)), rng.standard_normal(15)
    at_s = np.linspace(-110.0, 20.0, 25)
    shape = Matern(30.0, nu=0.5) if kernel == "ou" else RBF(30.0)
    whole = ConstantKernel(level) + ConstantKernel(1.0 - level) * shape if level else shape
    known = GaussianProcessRegressor(whole, alpha=0.2**2, optimizer=None).fit(times_s[:, None], values)
    mean, covariance = known.predict(at_s[:, None], return_cov=True)
    observed = one_channel(values, times_s)
    found = adapter.posterior(observed, torch.from_numpy(at_s))
    assert found.mean[0, :, 0].detach().numpy() == pytest.approx(mean, abs=1e-5)
    assert found.covariance[0].detach().numpy() == pytest.approx(covariance, abs=1e-5)
    known = GaussianProcessRegressor(whole, alpha=0.2**2 + 1e-6, optimizer=None).fit(times_s[:, None], values)
    assert number(adapter.log_likelihood(observed)) == pytest.approx(known.log_marginal_likelihood_value_, abs=1e-4)


def test_several_channels_are_textbook_regression_on_the_whole_covariance() -> None:
    # Golden: the conditional of a normal distribution, written out with numpy (Rasmussen & Williams 2006, eq. 2.23, 2.24).
    adapter, observed = made(THREE), read(windows=1)
    keep = observed.valid[0].numpy()
    y, t, c = (part[0].numpy()[keep] for part in (observed.values, observed.times_s, observed.channel))
    between = adapter.covariance().detach().numpy()
    at_s, ask = np.repeat(adapter.grid_s.numpy(), 3), np.tile(np.arange(3), 7)

    def cov(first: tuple[Any, Any], second: tuple[Any, Any]) -> Any:
        apart = np.abs(first[0][:, None] - second[0][None, :]) / 200.0
        return between[np.ix_(first[1], second[1])] * (0.5 + 0.5 * np.exp(-apart))

    own = cov((t, c), (t, c)) + (0.2**2 + 1e-6 * np.diag(between).mean()) * np.eye(len(t))
    cross = cov((at_s, ask), (t, c))
    found = adapter.posterior(observed)
    assert found.mean[0].flatten().detach().numpy() == pytest.approx(cross @ np.linalg.solve(own, y), abs=1e-6)
    wanted = cov((at_s, ask), (at_s, ask)) - cross @ np.linalg.solve(own, cross.T)
    assert found.covariance[0].detach().numpy() == pytest.approx(wanted, abs=1e-6)
    assert found.sd[0].flatten().detach().numpy() == pytest.approx(np.sqrt(np.diag(wanted)), abs=1e-6)


@pytest.mark.parametrize("kernel", ["ou", "rbf"])
def test_readings_without_noise_are_interpolated(kernel: Kernel) -> None:
    adapter = made(replace(ONE, kernel=kernel, noise=1e-5))
    times_s, values = [-90.0, -50.0, -20.0], [1.0, -2.0, 0.5]
    found = adapter.posterior(one_channel(values, times_s), torch.tensor(times_s))
    assert found.mean[0, :, 0].tolist() == pytest.approx(values, abs=1e-4)
    assert number(found.sd.max()) < 2e-3


def test_far_from_readings_the_prior_is_back() -> None:
    adapter = made(ONE)
    with torch.no_grad():
        adapter.mean.fill_(0.7)
    found = adapter.posterior(one_channel([3.0], [-50.0]), torch.tensor([1e5]))
    assert number(found.mean) == pytest.approx(0.7)
    assert number(found.sd) == pytest.approx(1.0)


def test_a_window_without_readings_has_the_prior() -> None:
    adapter, observed = made(THREE), read()
    none = Observed(observed.values, observed.times_s, observed.channel, torch.zeros_like(observed.valid))
    found = adapter.posterior(none)
    assert number(found.mean.abs().max()) == 0.0
    assert found.sd[0, 0].tolist() == pytest.approx(adapter.covariance().diagonal().sqrt().tolist())
    assert adapter.log_likelihood(none).tolist() == [0.0, 0.0, 0.0]


def test_a_channel_that_is_not_read_is_told_by_the_others_as_far_as_they_are_akin() -> None:
    # Channels 0 and 1 correlate by 0.8, channel 2 with nobody; only channel 0 is read, once, with hardly any noise.
    root = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    adapter = made(replace(THREE, rank=3, noise=1e-4), root)
    observed = Observed.of([[2.0]], [[-100.0]], [[0]], [[True]])
    found = adapter.posterior(observed, torch.tensor([-100.0]))
    assert found.mean[0, 0].tolist() == pytest.approx([2.0, 1.6, 0.0], abs=1e-4)
    assert found.sd[0, 0].tolist() == pytest.approx([0.0, 0.6, 1.0], abs=2e-3)


# -------------------------------------------------------------------------------------------------------------- invariance
def test_the_order_of_readings_does_not_matter() -> None:
    adapter, observed = made(THREE), read()
    order = torch.randperm(observed.values.shape[1], generator=torch.Generator().manual_seed(1))
    mixed = Observed(*(part[:, order] for part in (observed.values, observed.times_s, observed.channel, observed.valid)))
    for name in ("mean", "covariance"):
        one, other = (getattr(adapter.posterior(o), name) for o in (observed, mixed))
        assert torch.allclose(one, other, atol=1e-9)


def test_what_is_not_valid_has_no_say_whatever_it_is() -> None:
    adapter, observed = made(THREE), read()
    off = ~observed.valid
    assert bool(off.any())
    odd = Observed(
        observed.values.masked_fill(off, math.nan),
        observed.times_s.masked_fill(off, math.inf),
        observed.channel.masked_fill(off, 77),
        observed.valid,
    )
    assert torch.equal(adapter(observed), adapter(odd))
    assert torch.equal(adapter.log_likelihood(observed), adapter.log_likelihood(odd))
    keep = observed.valid[0]
    alone = Observed(*(part[:1, keep] for part in (observed.values, observed.times_s, observed.channel, observed.valid)))
    assert torch.allclose(adapter.posterior(alone).mean, adapter.posterior(observed.rows(slice(1))).mean, atol=1e-9)


@pytest.mark.parametrize("beside", [(), (0, 2)])
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(beside: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = VitalsNetwork(VitalsSettings(THREE, width=8, beside=beside), ("sbp", "hr")).eval()
    observed = read(windows=5)
    whole = network.answer(observed)
    assert whole.shape == (5, 2)
    assert torch.allclose(network.answer(observed.rows(torch.tensor([3]))), whole[3:4], atol=1e-5)
    assert torch.equal(network.answer(observed), whole)


def test_values_in_other_units_give_the_same_course_in_these_units() -> None:
    # Everything is proportional to K_C, the smallest numbers too.
    adapter, observed = made(replace(ONE, kernel="rbf")), one_channel([1.0, 2.0, -1.0], [-80.0, -79.0, -20.0])
    grand = made(replace(ONE, kernel="rbf", noise=0.2e4))
    with torch.no_grad():
        grand.log_own.fill_(math.log(1e8))
    scaled = Observed(1e4 * observed.values, observed.times_s, observed.channel, observed.valid)
    assert torch.allclose(grand(scaled), 1e4 * adapter(observed), rtol=1e-4, atol=0.1)


# ------------------------------------------------------------------------------------------------------------------- draws
def test_draws_have_the_posteriors_mean_and_covariance() -> None:
    adapter = made(replace(THREE, points=3, draws=20_000)).train()
    observed = read(windows=1)
    found = adapter.posterior(observed)
    torch.manual_seed(3)
    drawn = adapter(observed)
    assert drawn.shape == (20_000, 1, 3, 3)
    flat = drawn[:, 0].transpose(1, 2).flatten(1).double()
    assert torch.allclose(flat.mean(0), found.mean[0].flatten(), atol=0.03)
    assert torch.allclose(torch.cov(flat.T), found.covariance[0], atol=0.05)


def test_training_draws_anew_and_evaluation_does_not() -> None:
    adapter, observed = made(THREE), read()
    assert torch.equal(adapter(observed), adapter(observed))
    state = torch.random.get_rng_state()
    adapter(observed)
    assert torch.equal(state, torch.random.get_rng_state())
    adapter.train()
    assert not torch.equal(adapter(observed), adapter(observed))


@pytest.mark.parametrize("kernel", ["ou", "rbf"])
def test_gradients_reach_everything_and_are_finite(kernel: Kernel) -> None:
    torch.manual_seed(0)
    gp = replace(THREE, kernel=kernel, points=30)
    network = VitalsNetwork(VitalsSettings(gp, width=8, dropout=0.0), ("sbp", "hr"))
    observed = read()
    # Two readings of one channel at one time, and a window with none.
    observed.times_s[0, :2], observed.channel[0, :2], observed.valid[0, :2] = -10.0, 1, True
    observed.valid[2] = False
    network.loss(observed, torch.randn(3, 2)).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert number(parameter.grad.abs().sum()) > 0.0, name


def test_gradients_of_draws_are_those_of_differences() -> None:
    adapter = GpAdapter(replace(THREE, points=3, draws=2)).double().eval()
    observed = read(6, 1)
    names, start = zip(*((name, p.detach().clone().requires_grad_()) for name, p in adapter.named_parameters()), strict=True)

    def draw(*parts: Tensor) -> Tensor:
        told = torch.func.functional_call(adapter, dict(zip(names, parts, strict=True)), (observed,))
        assert isinstance(told, Tensor)
        return told

    # In float64 all the way: `forward` would round to float32.
    adapter.forward = lambda observed: adapter.draw(adapter.posterior(observed))  # type: ignore[method-assign]
    assert torch.autograd.gradcheck(draw, start, atol=1e-4)


# -------------------------------------------------------------------------------------------------------------- likelihood
def test_likelihood_finds_the_length_the_noise_and_the_kinship_that_readings_were_made_with() -> None:
    from biosig_mtl.data.irregular import SimulatedVitals, simulated_vitals

    s = SimulatedVitals(n_subjects=100, questions=1, lost=0.0, cuff_s=(300.0, 900.0))
    data = simulated_vitals(s, 0)
    data = data.scaled(np.array(s.mean), np.array(s.sd))
    observed = Observed.of(data.values, data.times_s, data.channel, data.valid)
    torch.manual_seed(0)
    adapter = GpAdapter(GpSettings(3, -7200.0, 0.0, points=2, length_s=1000.0, noise=1.0))
    optimiser = torch.optim.LBFGS(adapter.parameters(), max_iter=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -adapter.log_likelihood(observed).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    between = adapter.covariance().detach()
    sd = between.diagonal().sqrt()
    assert sd.tolist() == pytest.approx([1.0] * 3, abs=0.25)
    correlation = between / torch.outer(sd, sd)
    assert [number(correlation[i, j]) for i, j in ((0, 1), (0, 2), (1, 2))] == pytest.approx(s.correlation, abs=0.2)
    assert adapter.log_noise.exp().tolist() == pytest.approx([n / d for n, d in zip(s.noise_sd, s.sd, strict=True)], abs=0.05)
    assert adapter.level is not None
    assert number(torch.sigmoid(adapter.level)) == pytest.approx(s.level, abs=0.2)
    assert s.length_s / 2 < number(adapter.log_length.exp()) < 2 * s.length_s
    # What it then says is calibrated, and better than the last reading and the line, which know no noise.
    adapter.eval()
    found = adapter.posterior(observed, torch.zeros(1))
    assert data.truth is not None
    apart = (torch.from_numpy(data.truth) - found.mean[:, 0]) / found.sd[:, 0]
    assert number(apart.square().mean()) == pytest.approx(1.0, abs=0.25)
    errors = [number((e - torch.from_numpy(data.truth[:, 0])).abs().mean()) for e in (found.mean[:, 0, 0], hold_last(observed))]
    assert errors[0] < 0.9 * errors[1]


# ----------------------------------------------------------------------------------------------------------------- network
def test_the_loss_is_that_of_draws_not_of_their_mean() -> None:
    torch.manual_seed(0)
    network = VitalsNetwork(VitalsSettings(THREE, width=8), ("sbp", "hr")).eval()
    observed, targets = read(), torch.tensor([[0.1, math.nan], [1.0, -5.0], [math.nan, math.nan]])
    said = network(observed)
    assert said.shape == (THREE.draws, 3, 2)
    each = torch.nn.functional.huber_loss(said, targets.nan_to_num().expand_as(said), reduction="none").mean(0)
    known = each[torch.isfinite(targets)]
    assert number(network.loss(observed, targets)) == pytest.approx(number(known.mean()))
    weighed = network.loss(observed, targets, torch.tensor([1.0, 0.0, 1.0]))
    assert number(weighed) == pytest.approx(number(each[0, 0]))
    of_mean = torch.nn.functional.huber_loss(said.mean(0)[torch.isfinite(targets)], targets[torch.isfinite(targets)])
    assert number(network.loss(observed, targets)) > number(of_mean)
    assert number(network.loss(observed, torch.full((3, 2), math.nan))) == 0.0


def test_beside_starts_as_the_posterior_mean() -> None:
    torch.manual_seed(0)
    network = VitalsNetwork(VitalsSettings(THREE, width=8, beside=(1,)), ("dbp",)).eval()
    observed = read()
    start = network.adapter.posterior(observed, torch.zeros(1)).mean[:, 0, 1:2]
    assert torch.allclose(network.answer(observed).double(), start, atol=1e-6)


def test_no_step_sees_a_later_one() -> None:
    torch.manual_seed(0)
    block = CausalBlock(VitalsSettings(THREE, width=4), 2).eval()
    x = torch.randn(2, 4, 10)
    changed = x.clone()
    changed[:, :, 6:] += 1.0
    assert torch.equal(block(x)[:, :, :6], block(changed)[:, :, :6])
    assert not torch.allclose(block(x)[:, :, 6:], block(changed)[:, :, 6:])


def test_the_network_learns_from_simulated_readings() -> None:
    from biosig_mtl.data.irregular import SimulatedVitals, simulated_vitals

    s = SimulatedVitals(n_subjects=24, questions=2)
    data = simulated_vitals(s, 1).scaled(np.array(s.mean), np.array(s.sd))
    observed = Observed.of(data.values, data.times_s, data.channel, data.valid)
    targets = torch.from_numpy(data.target[:, None]).float()
    torch.manual_seed(0)
    gp = GpSettings(3, -7200.0, 0.0, points=12, draws=3)
    network = VitalsNetwork(VitalsSettings(gp, width=8, dropout=0.0), ("sbp",))
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = network.loss(observed, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(number(loss.detach()))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


# --------------------------------------------------------------------------------------------------------------- baselines
def test_the_last_reading_is_held_and_lines_are_drawn_between_readings() -> None:
    observed = Observed.of(
        [[1.0, 5.0, 9.0, 99.0], [2.0, 4.0, 7.0, 0.0], [0.0, 0.0, 3.0, 0.0], [8.0, 8.0, 8.0, 8.0]],
        [[-30.0, -10.0, 30.0, -1.0], [-20.0, -20.0, -50.0, 5.0], [-1.0, -2.0, 8.0, -3.0], [-1.0, -2.0, -3.0, -4.0]],
        [[0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]],
        np.ones((4, 4), bool),
    )
    assert hold_last(observed).numpy() == pytest.approx([5.0, 3.0, math.nan, math.nan], nan_ok=True)
    assert straight_line(observed).numpy() == pytest.approx([6.0, 3.0, 3.0, math.nan], nan_ok=True)
    assert number(hold_last(observed, 1)[0]) == 99.0


# ------------------------------------------------------------------------------------------------------------------ errors
def test_too_many_readings_are_refused_in_one_line() -> None:
    adapter = made(ONE)
    at_most = one_channel(np.zeros(MOST_READINGS), np.linspace(-100, 0, MOST_READINGS))
    assert bool(torch.isfinite(adapter(at_most)).all())
    with pytest.raises(DataError, match=r"201 a window, the GP adapter takes 200; look back less"):
        adapter(one_channel(np.zeros(201), np.linspace(-100, 0, 201)))


def test_readings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DataError, match="one shape"):
        Observed.of([[1.0]], [[1.0, 2.0]], [[0]], [[True]])
    with pytest.raises(DataError, match="one shape"):
        Observed.of([1.0], [1.0], [0], [True])
    with pytest.raises(DataError, match="not finite"):
        Observed.of([[math.nan]], [[1.0]], [[0]], [[True]])
    assert len(Observed.of([[math.nan]], [[1.0]], [[0]], [[False]])) == 1
    with pytest.raises(DataError, match="channel 3 of a network for 3 channels"):
        made(THREE)(Observed.of([[0.0]], [[1.0]], [[3]], [[True]]))


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 0}, {"draws": 0}, {"end_s": -600.0}, {"noise": 0.0}, {"level": 1.0}, {"kernel": "cosine"}],
)
def test_odd_processes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        replace(THREE, **wrong)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"dropout": 1.0}, {"beside": (3,)}])
def test_odd_networks_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        VitalsSettings(THREE, **wrong)


def test_one_channel_a_target_beside() -> None:
    with pytest.raises(ValueError, match="one channel for each of 2 targets"):
        VitalsNetwork(VitalsSettings(THREE, beside=(0,)), ("sbp", "dbp"))


def test_no_name_of_the_process_is_decayed() -> None:
    assert not [name for name, _ in GpAdapter(THREE).named_parameters() if name.endswith("weight")]
