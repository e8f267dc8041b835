"""Encoders, tokens, stacked layers and ordered answers."""

from __future__ import annotations

import pytest
import torch

from biosig_mtl.models.answers import Answers
from biosig_mtl.models.blocks import FeatureDropout, ResidualBlock, StackedLinear, StackedNorm, attend, position_code
from biosig_mtl.models.encoders import ENCODERS, ConvEncoder, TokenChoice
from biosig_mtl.models.tokens import FeatureTokens, Tokens, families
from biosig_mtl.types import Batch, InputSpec


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
@pytest.mark.parametrize(("samples", "stride"), [(128, 8), (261, 16), (1000, 32), (7, 64), (97, 16)])
def test_encoders_give_tokens_for_any_length(encoder: str, samples: int, stride: int) -> None:
    made = ENCODERS[encoder](3, TokenChoice(8, encoder, stride))
    tokens = made(torch.randn(2, 3, samples))
    assert tokens.shape[0] == 2
    assert tokens.shape[2] == 8
    assert abs(tokens.shape[1] - samples / stride) <= 1
    assert torch.isfinite(tokens).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"encoder": "cnn"}, "need encoder"),
        ({"width": 2}, "width >= 4"),
        ({"stride": 5}, "need stride"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_token_choice_refuses_nonsense(words: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenChoice(**({"width": 8} | words))  # type: ignore[arg-type]


def test_families_keep_order_and_cover_all_columns() -> None:
    groups = families(("b.x", "a.y", "b.z", "plain"))
    assert groups == {"b": [0, 2], "a": [1], "plain": [3]}


def test_a_missing_value_is_not_looked_at() -> None:
    torch.manual_seed(0)
    tokens = FeatureTokens(("a.x", "a.y", "b.z"), 8)
    values, missing = torch.randn(4, 3), torch.zeros(4, 3, dtype=torch.bool)
    missing[:, 1] = True
    other = values.clone()
    other[:, 1] = 99.0
    assert torch.equal(tokens(values, missing), tokens(other, missing))
    assert not torch.allclose(tokens(values, missing), tokens(values, torch.zeros_like(missing)))


def test_a_family_only_changes_its_own_token() -> None:
    torch.manual_seed(0)
    tokens = FeatureTokens(("a.x", "b.y"), 8)
    values, missing = torch.randn(4, 2), torch.zeros(4, 2, dtype=torch.bool)
    other = values + torch.tensor([1.0, 0.0])
    before, after = tokens(values, missing), tokens(other, missing)
    assert not torch.allclose(before[:, 0], after[:, 0])
    assert torch.equal(before[:, 1], after[:, 1])


def test_tokens_need_some_input() -> None:
    with pytest.raises(ValueError, match="neither"):
        Tokens(InputSpec((), 0, (), ("sbp",)), TokenChoice(8))


def test_balanced_pool_weighs_waveform_and_features_alike() -> None:
    tokens = Tokens(InputSpec(("ppg",), 64, ("a.x", "b.y"), ("sbp",)), TokenChoice(8, stride=8))
    x = torch.cat([torch.zeros(1, 8, 8), torch.ones(1, 2, 8)], dim=1)
    assert torch.allclose(tokens.pool(x, "balanced"), torch.tensor(0.5))
    assert torch.allclose(tokens.pool(x, "mean"), torch.tensor(0.2))


def test_position_code_tells_positions_apart() -> None:
    code = position_code(70, 9, torch.empty(0))
    assert code.shape == (70, 9)
    distance = torch.cdist(code, code) + torch.eye(70)
    assert distance.min() > 1e-3


def test_stacked_linear_equals_single_layers() -> None:
    torch.manual_seed(0)
    stack = StackedLinear(3, 4, 5)
    torch.nn.init.normal_(stack.bias)
    x = torch.randn(3, 2, 7, 4)
    expected = torch.stack([x[i] @ stack.weight[i] + stack.bias[i] for i in range(3)])
    assert torch.allclose(stack(x), expected, atol=1e-6)
    assert torch.allclose(stack(x[:1]), torch.stack([x[0] @ stack.weight[i] + stack.bias[i] for i in range(3)]), atol=1e-6)


def test_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, dtype=torch.float64) for _ in range(3))
    expected = torch.softmax(q @ k.transpose(-1, -2) / 2.0, dim=-1) @ v
    assert torch.allclose(attend(q, k, v, 1), expected)
    halves = [attend(q[..., part], k[..., part], v[..., part], 1) for part in (slice(0, 2), slice(2, 4))]
    assert torch.allclose(attend(q, k, v, 2), torch.cat(halves, dim=-1))


def test_feature_dropout_is_the_same_for_all_tokens_and_off_in_evaluation() -> None:
    torch.manual_seed(0)
    drop = FeatureDropout(0.5)
    x = torch.ones(4, 6, 16)
    dropped = drop(x)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    assert torch.equal(drop.eval()(x), x)


def _empty_batch(size: int) -> Batch:
    nothing = torch.empty(size, 0)
    return Batch(torch.empty(size, 0, 0), nothing, nothing.bool(), torch.zeros(size, 2), torch.ones(size))


@pytest.mark.parametrize("names", [("sbp", "dbp"), ("dbp", "sbp")])
def test_ordered_answers_keep_the_pulse_pressure_above_its_margin(names: tuple[str, str]) -> None:
    answers = Answers(InputSpec((), 0, ("a.x",), names), linear_skip=False, min_pulse_pressure=5.0)
    truth = {"sbp": (128.0, 20.0), "dbp": (72.0, 11.0)}
    mean, scale = torch.tensor([truth[n][0] for n in names]), torch.tensor([truth[n][1] for n in names])
    answers.set_target_scale(mean, scale)
    said = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) * 6
    told = mean + scale * answers(said, _empty_batch(500)).predictions
    s, d = names.index("sbp"), names.index("dbp")
    assert (told[:, s] - told[:, d] >= 5.0 - 1e-3).all()
    assert torch.allclose(told[:, d], mean[d] + scale[d] * said[:, d], atol=1e-3)
    # An answer of zero is the training mean of both.
    assert torch.allclose(answers(torch.zeros(1, 2), _empty_batch(1)).predictions, torch.zeros(1, 2), atol=1e-5)


def test_ordered_answers_need_both_pressures() -> None:
    with pytest.raises(ValueError, match="sbp and dbp"):
        Answers(InputSpec((), 0, ("a.x",), ("valence",)), linear_skip=False, min_pulse_pressure=5.0)


def test_linear_skip_starts_as_nothing() -> None:
    spec = InputSpec((), 0, ("a.x",), ("sbp", "dbp"))
    answers = Answers(spec, linear_skip=True, min_pulse_pressure=None)
    batch = Batch(torch.empty(3, 0, 0), torch.randn(3, 1), torch.zeros(3, 1).bool(), torch.zeros(3, 2), torch.ones(3))
    said = torch.randn(3, 2)
    assert torch.equal(answers(said, batch).predictions, said)


def test_said_for_is_what_has_to_be_said() -> None:
    answers = Answers(InputSpec((), 0, ("a.x",), ("sbp", "dbp")), linear_skip=False, min_pulse_pressure=5.0)
    answers.set_target_scale(torch.tensor([128.0, 72.0]), torch.tensor([20.0, 11.0]))
    targets = torch.tensor([[1.0, 0.5], [0.0, 0.0], [-1.0, -2.0]])
    assert torch.allclose(answers(answers.said_for(targets), _empty_batch(3)).predictions, targets, atol=1e-4)
    crossed = torch.tensor([[-3.0, 3.0], [0.1, float("nan")]])  # 68 over 105 mmHg, and an unknown
    said = answers.said_for(crossed)
    assert torch.isfinite(said[0]).all()
    assert torch.isnan(said[1, 1])
    plain = Answers(InputSpec((), 0, ("a.x",), ("sbp", "dbp")), linear_skip=False, min_pulse_pressure=None)
    assert torch.equal(plain.said_for(targets), targets)
    plain.set_linear_skip(torch.ones(2, 2), torch.ones(2))
    assert plain.skip is None


# ------------------------------------------------------------------------------------------------------------ channels last
def test_channels_last_is_the_plain_convolution_with_the_same_chance_and_gradients() -> None:
    torch.manual_seed(0)
    # In double precision, where nothing but a fault is larger than the tolerance.
    made = ConvEncoder(3, TokenChoice(8, "conv", 16, dropout=0.3)).double()
    waveform = torch.randn(4, 3, 97, dtype=torch.float64)

    def plain(x: torch.Tensor) -> torch.Tensor:
        x = made.stem(x)
        for block in made.blocks:
            assert isinstance(block, ResidualBlock)
            x = torch.relu(x + block.body(x))
        tokens: torch.Tensor = made.norm(x.transpose(1, 2))
        return tokens

    told = []
    for forward in (plain, made):
        torch.manual_seed(1)
        made.zero_grad()
        tokens = forward(waveform)
        tokens.square().sin().sum().backward()
        told.append([tokens.detach(), *(p.grad.clone() for p in made.parameters() if p.grad is not None)])
    assert len(told[0]) == len(told[1]) == 1 + len(list(made.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in zip(*told, strict=True))
    single = made.float().eval()
    assert torch.allclose(single(waveform.float()), plain(waveform.float()), atol=1e-5)


def test_a_residual_block_takes_both_shapes() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(8, 0.0), torch.randn(2, 8, 11)
    assert torch.allclose(block(x), block(x.unsqueeze(2)).squeeze(2), atol=1e-6)
    assert torch.allclose(block(x), torch.relu(x + block.body(x)), atol=1e-5)


def test_the_average_of_what_is_normalised_is_the_normalised_average() -> None:
    torch.manual_seed(0)
    norm = StackedNorm(2, 8)
    torch.nn.init.normal_(norm.gain)
    torch.nn.init.normal_(norm.offset)
    x = torch.randn(2, 3, 5, 8)
    share = torch.softmax(torch.randn(5), dim=0)[:, None]

    def pool(y: torch.Tensor) -> torch.Tensor:
        return (share * y).sum(-2)

    assert torch.allclose(norm.pooled(x, pool), pool(norm(x)), atol=1e-6)
    plain = torch.nn.functional.layer_norm(x[1], (8,), norm.gain[1].flatten(), norm.offset[1].flatten())
    assert torch.allclose(norm(x)[1], plain, atol=1e-6)


def test_attention_may_ask_another_number_of_tokens() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 9, 4), torch.randn(2, 3, 9, 4)
    expected = torch.softmax(q @ k.transpose(-1, -2) / 2.0, dim=-1) @ v
    assert torch.allclose(attend(q, k, v, 1), expected, atol=1e-6)
