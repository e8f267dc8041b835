"""Laws of the report: what is written is what was measured, the best is bold, a failure is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.book import Accuracy, Book, Cost, Speed, number
from tests.benchmarks.scoring import Score, score

TRUTH = np.arange(1, 1001, dtype=float)


def with_misses(count: int) -> Score:
    return score(TRUTH, TRUTH[: TRUTH.size - count])


@pytest.fixture
def book() -> Book:
    made = Book("ours", {"numpy": "2"}, ("A note.",))
    made.speed += [
        Speed("chain", "PPG chain", "peer", 1.0, 0.02, 2.0, 5),
        Speed("detector", "ecg", "quick", 1.0, 0.1, 0.013, 3),
    ]
    made.accuracy += [
        Accuracy("ecg", "ours", "one", with_misses(2)),
        Accuracy("ecg", "ours", "two clean", with_misses(10)),
        Accuracy("ecg", "quick", "one", with_misses(3)),
        Accuracy("ecg", "quick", "two clean", with_misses(4)),
        Accuracy("ecg", "frail", "one", None, "IndexError: list index out of range"),
    ]
    made.costs += [Cost("ours", f"ours, 1 record of {h} h", h, 0.3 * h, 200.0, 100.0) for h in (1.0, 6.0, 24.0)]
    return made


def test_the_best_is_bold_and_a_failure_is_told(book: Book) -> None:
    text = book.markdown()
    assert "| **ours** | **.9990** / **.9990** | .9950 / .9950 | +0 | 0.0 | – |" in text
    assert "| quick | .9985 / .9985 | **.9980** / **.9980** | +0 | 0.0 | 0.013 |" in text
    assert "| frail" not in text
    assert "- frail: IndexError: list index out of range" in text
    assert "| PPG chain | peer | 0.020 | 2.0 | **100 ×** |" in text
    assert "- A note." in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head(book: Book) -> None:
    for block in book.markdown().split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_claims_compare_ours_with_the_best_peer(book: Book) -> None:
    one, two = book.claims()
    assert (one.inputs, one.peer, one.held) == ("one", "quick", True)
    assert (two.inputs, two.peer, two.held) == ("two clean", "quick", False)
    assert str(two).endswith("FALLS SHORT")


def test_what_is_linear_lies_on_its_line(book: Book) -> None:
    assert book.line() == pytest.approx((0, 0.3, 0), abs=1e-9)
    assert "0.30 s an hour; no length is more than 0% off" in book.markdown()
    book.costs.append(Cost("ours", "ours, 1 record of 48 h", 48.0, 30.0, 200.0, 100.0))
    bent = book.line()
    assert bent is not None
    assert bent[2] > 0.2
    assert Book("ours").line() is None


def test_what_is_written_can_be_read(book: Book, tmp_path: Path) -> None:
    text = book.write(tmp_path / "new")
    assert (tmp_path / "new" / "benchmarks.md").read_text(encoding="utf-8") == text
    content = json.loads((tmp_path / "new" / "benchmarks.json").read_text(encoding="utf-8"))
    assert content["speed"][0]["ratio"] == 100
    assert content["accuracy"][0]["n_found"] == 998
    assert content["accuracy"][-1]["reason"].startswith("IndexError")
    assert content["environment"] == {"numpy": "2"}


def test_an_empty_book_says_nothing(tmp_path: Path) -> None:
    assert Book("ours").write(tmp_path).strip() == ""


@pytest.mark.parametrize(("value", "text"), [(0.0131, "0.013"), (18.8, "19"), (2.13, "2.1"), (0.0, "0"), (np.nan, "–")])
def test_numbers_have_two_digits(value: float, text: str) -> None:
    assert number(value) == text
