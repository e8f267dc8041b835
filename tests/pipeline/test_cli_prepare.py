"""What `prepare` says: of shards, of what was left out, and of words that cannot be followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosig_mtl.cli import main
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.pipeline import preparing


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=2, records_per_subject=1, record_s=20, fault_share=0), tmp_path_factory.mktemp("d") / "c")


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> tuple[list[str], list[str]]:
    with pytest.raises(SystemExit) as end:
        main(["prepare", "demo_bp", *map(str, words)])
    assert end.value.code == code
    out, err = capsys.readouterr()
    return out.splitlines(), err.splitlines()


def test_shards_tell_what_is_missing_until_the_last_one_finishes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cohort: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(preparing, "LOT_RECORDS", 1)
    words = ("--data", cohort, "--store", tmp_path, "--workers", 1, "--shard")
    first, _ = said(capsys, *words, "2/2")
    assert first[0].endswith(": not finished: 1 of 2 lots are missing; whichever shard finds all of them finishes the store")
    assert first[1] == "  2 lots: 1 written now, 1 still missing"
    last, _ = said(capsys, *words, "1/2")
    assert "from 2 of 2 records" in last[0]
    assert "  2 lots: 1 written now, 1 found" in last
    assert last[-1].startswith("  0.01 record-hours in ")


def test_what_happens_on_the_way_is_told_beside_the_progress(
    capsys: pytest.CaptureFixture[str], cohort: Path, tmp_path: Path
) -> None:
    words = ("--data", cohort, "--store", tmp_path, "--workers", 1, "--record-timeout", "0.001", "--set", "data.limit=1")
    out, err = said(capsys, *words, code=3)
    assert err[0] == "a worker died at record s001_1 (too slow; 1 of 3); its lot is tried again"
    assert err[2] == "s001_1: left out: this record took longer than 0.001 s, 3 times"
    assert out[1] == "  records refused: 1 × this record took longer than 0.001 s, 3 times; left out"
    assert "  1 lot: 1 written now, 3 retries after a worker died" in out
    assert "  left out after three tries: s001_1 (see rejected.csv)" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--shard", "3"), "--shard 3: write it as i/n"),
        (("--record-timeout", "0"), "--record-timeout: need record_timeout_s > 0, got 0"),
        (("--engine", "dusk"), "unknown engine (--engine) 'dusk'; did you mean 'dask'?"),
        (("--scheduler", "tcp://a:1"), "only --engine dask has a scheduler"),
        (("--engine", "dask", "--set", "cluster.que=long"), "did you mean 'queue'"),
    ],
)
def test_words_that_cannot_be_followed_are_one_line(
    capsys: pytest.CaptureFixture[str], cohort: Path, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    out, err = said(capsys, "--data", cohort, "--store", tmp_path, *words, code=2)
    assert out == []
    assert len(err) == 1
    assert expected in err[0]
