"""Laws of knowledge extraction: the frame is a simplex, slots are a bottleneck, the order of tasks means nothing to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from biosig_mtl.models.kem import Bottleneck, KemSettings, kem, simplex_frame
from biosig_mtl.models.network import Network
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "heads": 2, "stride": 16, "dropout": 0.0, "slots": 3, "vertices": 5}
TARGETS = ("sbp", "dbp", "map")


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return kem(KemSettings(**{**SMALL, **words}), spec)


def body_of(targets: tuple[str, ...] = TARGETS, **words: Any) -> Bottleneck:
    torch.manual_seed(0)
    return Bottleneck(targets, KemSettings(**{**SMALL, **words}))


def mean_of_tokens(x: Tensor, axis: int = 0) -> Tensor:
    del axis
    return x.mean(-2)


# -------------------------------------------------------------------------------------------------------------- the frame
@pytest.mark.parametrize(("width", "vertices"), [(2, 2), (8, 2), (8, 8), (32, 8), (32, 31), (33, 33)])
def test_the_frame_is_a_simplex(width: int, vertices: int) -> None:
    """Papyan, Han & Donoho, PNAS 2020: equal norms, all angles equal and the widest there can be."""
    frame = simplex_frame(width, vertices).double()
    expected = torch.full((vertices, vertices), -1.0 / (vertices - 1), dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(frame.T @ frame, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(frame.sum(0), torch.zeros(vertices, dtype=torch.float64), atol=1e-5, rtol=0)
    # Tight: on the space that the vertices span it changes lengths by one factor.
    energies = torch.linalg.eigvalsh(frame @ frame.T)
    expected = torch.tensor([0.0] * (width - vertices + 1) + [vertices / (vertices - 1)] * (vertices - 1), dtype=torch.float64)
    torch.testing.assert_close(energies, expected, atol=1e-6, rtol=0)


def test_the_frame_is_no_chance_is_not_learnt_and_not_stored(make_spec: MakeSpec) -> None:
    one, other = (small(make_spec(), seed=seed) for seed in (0, 1))
    assert torch.equal(one.get_buffer("body.writing.frame"), other.get_buffer("body.writing.frame"))
    assert not [name for name in one.state_dict() if "frame" in name]
    assert not [name for name, _ in one.named_parameters() if "frame" in name]


# -------------------------------------------------------------------------------------------------------------- the slots
def test_slots_select_by_their_formula() -> None:
    body = body_of()
    sets = torch.randn(3, 5, 4, 8)
    written = body.writing(sets)
    for b in range(5):
        rows = sets[:, b].reshape(12, 8)
        centred = rows - rows.mean(1, keepdim=True)
        unit = centred / centred.norm(dim=1, keepdim=True)
        for m in range(3):
            taken = torch.softmax((unit @ body.writing.frame) @ body.writing.queries[m], dim=0)
            expected = body.writing.values((taken[:, None] * rows).sum(0))
            torch.testing.assert_close(written.slots[b, m], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(written.shares.sum(1), torch.ones(5))


def test_selection_knows_neither_offset_nor_scale_of_a_token() -> None:
    body = body_of()
    sets = torch.randn(3, 5, 4, 8)
    plain = body.writing(sets).shares
    torch.testing.assert_close(body.writing(7.0 * sets + 3.0).shares, plain, atol=1e-5, rtol=1e-4)


def test_the_order_of_tasks_and_tokens_means_nothing_to_the_slots() -> None:
    body = body_of()
    sets = torch.randn(3, 5, 4, 8)
    order = [2, 0, 1]
    plain, by_task, by_token = (body.writing(x) for x in (sets, sets[order], sets[:, :, [3, 1, 0, 2]]))
    torch.testing.assert_close(by_task.slots, plain.slots)
    torch.testing.assert_close(by_task.shares, plain.shares[:, order])
    torch.testing.assert_close(by_token.slots, plain.slots)


def test_a_task_hears_of_another_through_the_slots_alone() -> None:
    body = body_of()
    sets = torch.randn(3, 5, 4, 8, requires_grad=True)
    held = body.writing(sets).slots
    (through,) = torch.autograd.grad(body.reading(sets, held)[0].square().sum(), sets, retain_graph=True)
    (beside,) = torch.autograd.grad(body.reading(sets, held.detach())[0].square().sum(), sets)
    assert [bool((through[t] != 0).any()) for t in range(3)] == [True, True, True]
    assert [bool((beside[t] != 0).any()) for t in range(3)] == [True, False, False]


def test_with_nothing_written_no_task_hears_of_another() -> None:
    body = body_of()
    with torch.no_grad():
        body.writing.values.weight.zero_()
    body(torch.randn(5, 4, 8), mean_of_tokens).embedding[:, 0].pow(3).sum().backward()
    assert body.own.weight.grad is not None
    assert [bool((part != 0).any()) for part in body.own.weight.grad] == [True, False, False]


def test_what_is_read_back_has_no_more_dimensions_than_slots() -> None:
    for slots in (1, 2, 4):
        body = body_of(slots=slots, heads=1)
        with torch.no_grad():
            body.reading.keys.weight.mul_(20.0)
            sets = 3.0 * torch.randn(3, 5, 16, 8)
            held = body.writing(sets).slots
            read = body.reading._attend(
                body.reading.queries(sets), body.reading.keys(held[None]), body.reading.values(held[None])
            )
        ranks = torch.linalg.matrix_rank(read.double(), rtol=1e-5)
        assert (ranks <= slots).all()
        assert int(ranks.max()) == slots


# ------------------------------------------------------------------------------------------------------------ the network
@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_task_teaches_its_own_reading_and_all_sets(make_spec: MakeSpec, make_batch: MakeBatch, task: int) -> None:
    spec = make_spec(targets=3)
    model = small(spec)
    model(make_batch(spec)).predictions[:, task].square().sum().backward()
    for name, p in model.body.named_parameters():
        assert p.grad is not None, name
        taught = [bool((part != 0).any()) for part in p.grad]
        if name.startswith("reading.") and not name.endswith("keys.bias"):  # a common offset of all keys never matters
            assert taught == [t == task for t in range(3)], name
        elif not name.startswith("reading."):
            assert all(taught), name


@pytest.mark.parametrize("targets", [1, 2, 4])
@pytest.mark.parametrize("slots", [1, 8])
def test_any_number_of_tasks_and_slots(make_spec: MakeSpec, make_batch: MakeBatch, targets: int, slots: int) -> None:
    spec = make_spec(targets=targets, samples=75)
    model = small(spec, slots=slots).eval()
    out = model(make_batch(spec))
    assert out.predictions.shape == (12, targets)
    assert model.shown["slots"] == spec.targets
    assert out.weights["slots"].shape == (12, targets)
    assert model(make_batch(spec, 1)).predictions.shape == (1, targets)


def test_permuting_tasks_with_their_parameters_permutes_answers(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec, order = make_affect_spec(targets=3), [2, 0, 1]
    model, other = small(spec).eval(), small(spec, seed=1).eval()
    own = ("heads.", "answers.", "body.own.", "body.norm.", "body.reading.")
    other.load_state_dict({name: value[order] if name.startswith(own) else value for name, value in model.state_dict().items()})
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(other(batch).weights["slots"], model(batch).weights["slots"][:, order])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    body, tokens = body_of(), torch.randn(5, 4, 8)
    reference = body(tokens, mean_of_tokens).embedding
    if dtype == torch.float64:
        told = body.double()(tokens.double(), mean_of_tokens).embedding
        assert told.dtype == torch.float64
        torch.testing.assert_close(told.float(), reference, atol=1e-5, rtol=1e-4)
    else:
        with torch.autocast("cpu", dtype=dtype):
            joint = body(tokens, mean_of_tokens)
        assert torch.allclose(joint.embedding.float(), reference, atol=0.1)
        torch.testing.assert_close(joint.weights["slots"].float().sum(1), torch.ones(5), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"slots": 0}, "need slots >= 1, got 0"),
        ({"vertices": 1}, "need 2 <= vertices <= width, got 1, 32"),
        ({"vertices": 33}, "got 33, 32"),
        ({"heads": 0}, "divide width, got 0, 32"),
        ({"heads": 5}, "divide width, got 5, 32"),
    ],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KemSettings(**words)
