"""Laws of the guard: more than 20 % lost is told and fails, noise alone does not, and what is new or was not run is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import guard
from tests.benchmarks.book import Book, Ratio, Speed
from tests.benchmarks.timing import Seconds, cpu_medians, spread


def told(ratio: float, better: str = "higher", spread: float | None = None, test: str = "t.py::t") -> dict[str, Any]:
    return {"ratio": ratio, "better": better, "spread": spread, "runs": 3, "test": test}


def one(before: dict[str, Any], now: dict[str, Any]) -> guard.Row:
    (row,) = guard.compare({"x": before}, {"x": now})
    return row


# ------------------------------------------------------------------------------------------------------------- comparing
@pytest.mark.parametrize(
    ("before", "now", "word"),
    [
        (told(10), told(8.0), "perhaps slower"),  # 10/8 is 25 % more work, and the noise covers the rest
        (told(10), told(8.4), "as before"),
        (told(10), told(10.0), "as before"),
        (told(10), told(12.5), "faster"),
        (told(2, "lower"), told(2.3, "lower"), "as before"),
        (told(2, "lower"), told(1.5, "lower"), "faster"),
    ],
)
def test_a_ratio_is_judged_by_the_work_it_takes(before: dict[str, Any], now: dict[str, Any], word: str) -> None:
    noisy = now | {"spread": 0.1} if word == "perhaps slower" else now
    assert one(before, noisy).word == word


@pytest.mark.parametrize(("better", "now"), [("higher", 7.9), ("lower", 12.6)])
def test_a_fifth_more_work_is_slower_either_way(better: str, now: float) -> None:
    row = one(told(10, better), told(now, better, spread=0.01))
    assert row.word == "slower"
    assert guard.bad([row])
    assert "worse (runs differ by ± 1%)" in str(row)


def test_the_committed_spread_counts_as_well() -> None:
    assert one(told(10, spread=0.4), told(7.5)).word == "perhaps slower"
    assert one(told(10, spread=0.01), told(7.5)).word == "slower"


def test_the_slowest_is_told_first_then_new_then_not_run() -> None:
    rows = guard.compare({"a": told(1), "b": told(1), "gone": told(3)}, {"a": told(0.7), "b": told(0.5), "new": told(2)})
    assert [(row.name, row.word) for row in rows] == [("b", "slower"), ("a", "slower"), ("new", "new"), ("gone", "not run")]
    lines = list(guard.lines(rows))
    assert lines[0] == "slower: b: 1 → 0.5, 100% worse"
    assert lines[2:] == ["new: new: 2", "not run: gone: was 3", "4 ratios: 2 slower, 1 new, 1 not run"]


def test_what_is_as_before_takes_no_line() -> None:
    rows = guard.compare({"a": told(1)}, {"a": told(1.01)})
    assert list(guard.lines(rows)) == ["1 ratios: 1 as before"]
    assert not guard.bad(rows)
    assert list(guard.lines([])) == ["0 ratios: none"]


def test_several_measurements_are_their_median() -> None:
    found = guard.together([{"a": told(1), "b": told(5)}, {"a": told(2)}, {"a": told(4)}])
    assert found["a"]["ratio"] == 2
    assert found["a"]["spread"] == pytest.approx(0.75)
    assert found["b"]["ratio"] == 5


# ------------------------------------------------------------------------------------------------------------- the book
def test_seconds_know_their_runs_and_copies_do_too() -> None:
    made = Seconds([3.0, 1.0, 2.0])
    assert made == 2.0
    assert copy.deepcopy(made).runs == (3.0, 1.0, 2.0)
    assert json.dumps({"s": made}) == '{"s": 2.0}'


def test_the_spread_is_that_of_the_ratios_of_one_turn() -> None:
    # Both are slowed alike in the second turn: the ratio does not move at all.
    assert spread(Seconds([1, 2, 1]), Seconds([10, 20, 10])) == 0
    assert spread(Seconds([1, 1, 1]), Seconds([10, 20, 15])) == pytest.approx(1 / 3)
    assert spread(1.0, 2.0) is None
    assert spread(Seconds([1]), Seconds([2])) is None


def test_medians_of_jobs_carry_their_runs() -> None:
    found = cpu_medians({"a": lambda: None, "b": lambda: None}, 3)
    assert all(isinstance(s, Seconds) and len(s.runs) == 3 for s in found.values())


def test_a_ratio_without_seconds_is_the_median_of_its_runs() -> None:
    made = Ratio("store: batches", (0.5, 0.8, 0.6))
    assert made.ratio == 0.6
    assert made.spread == pytest.approx(0.25)
    assert Ratio("x", (2.0,)).spread is None
    for values in ((), (0.0,), (float("nan"),)):
        with pytest.raises(ValueError, match="need finite values > 0"):
            Ratio("x", values)


def test_a_row_knows_its_test() -> None:
    assert Speed("k", "w", "p", 1.0, 1.0, 2.0, 1).test.endswith("test_guard.py::test_a_row_knows_its_test")


# -------------------------------------------------------------------------------------------------------- from end to end
def measured(folder: Path, ratio: float, *more: Speed) -> None:
    book = Book("ours", {"load": "0.10", "cores": "2", "python": "3.11", "numpy": "2"})
    book.speed += [Speed("k", "w", "p", 1.0, Seconds([1.0, 1.0]), Seconds([ratio, ratio]), 2, test="t.py::t"), *more]
    book.ratios.append(Ratio("store: batches", (0.6, 0.6)))
    book.write(folder)


def test_accepted_ratios_are_what_the_next_run_is_held_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, committed = tmp_path / "bench", tmp_path / "ratios.json"
    fixed = Speed("fixed", "theirs from elsewhere", "p", 1.0, 1.0, 2.0, 1, guarded=False)
    measured(folder, 10.0, fixed, Speed("detector", "beside itself", "ours", 1.0, 1.0, 1.0, 1))
    assert guard.tell(guard.check(folder, committed)) == 0
    assert "2 ratios: 2 new" in capsys.readouterr().out
    guard.accept(folder, committed)
    kept = json.loads(committed.read_text(encoding="utf-8"))["ratios"]
    assert set(kept) == {"k: w | p", "store: batches"}
    assert kept["k: w | p"]["ratio"] == 10
    assert kept["k: w | p"]["load"] == "quiet"
    measured(folder, 5.0)
    assert guard.tell(guard.check(folder, committed)) == 1
    assert "slower: k: w | p: 10 → 5, 100% worse" in capsys.readouterr().out


def test_what_was_not_run_keeps_its_ratio(tmp_path: Path) -> None:
    folder, committed = tmp_path / "bench", tmp_path / "ratios.json"
    committed.write_text(json.dumps({"ratios": {"old": told(3)}}), encoding="utf-8")
    measured(folder, 10.0)
    guard.accept(folder, committed)
    assert json.loads(committed.read_text(encoding="utf-8"))["ratios"]["old"]["ratio"] == 3


@pytest.mark.parametrize(("later", "code"), [((5.0, 5.0), 1), ((10.0, 10.0), 0)])
def test_what_looks_slower_is_measured_twice_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: tuple[float, float], code: int
) -> None:
    folder, committed = tmp_path / "bench", tmp_path / "ratios.json"
    measured(folder, 10.0)
    guard.accept(folder, committed)
    # What an earlier run left must not count.
    measured(folder / "again-1", 1.0)
    ratios, asked = iter((5.0, *later)), []

    def measure(into: Path, tests: Sequence[str]) -> int:
        asked.append(list(tests))
        measured(into, next(ratios))
        return 0

    monkeypatch.setattr(guard, "measure", measure)
    assert guard.bench(folder, committed) == code
    assert asked == [["tests/benchmarks"], ["t.py::t"], ["t.py::t"]]


def test_a_quiet_run_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, committed, asked = tmp_path / "bench", tmp_path / "ratios.json", []

    def measure(into: Path, tests: Sequence[str]) -> int:
        asked.append(tests)
        measured(into, 10.0)
        return 0

    monkeypatch.setattr(guard, "measure", measure)
    assert guard.bench(folder, committed) == 0
    assert len(asked) == 1


def test_nothing_measured_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_OUT", str(tmp_path))
    with pytest.raises(SystemExit, match="run `make bench` first"):
        guard.main(["check"])
    assert guard.main(["dance"]) == 2
    (tmp_path / "benchmarks.json").write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit, match="not readable"):
        guard.main(["check"])


def test_the_committed_ratios_can_be_read() -> None:
    kept = guard.read(guard.COMMITTED)["ratios"]
    assert kept
    for row in kept.values():
        assert row["ratio"] > 0
        assert row["better"] in {"higher", "lower"}
        assert row["load"] in {"quiet", "busy", "not known"}
    assert not guard.bad(guard.compare(kept, kept))
