"""Laws of the verb: a live view writes what `predict` writes, from a file, a pipe and after a kill; errors are one line."""

from __future__ import annotations

import io
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer

from biosig_mtl import experiment, pipeline
from biosig_mtl.cli import live as verb
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.inference import predict_file
from biosig_mtl.inference.stream_words import StreamSettings
from biosig_mtl.live import page as pages
from biosig_mtl.recipe import load
from biosig_mtl.types import BiosigError, DataError, RecipeError

TINY = ("split.folds=2", "training.epochs=1", "model.width=8", "model.heads=2", "split.negative_control=false")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from biosig_mtl.models import baselines

    root = tmp_path_factory.mktemp("live")
    cohort = write(Cohort(n_subjects=8, records_per_subject=1, record_s=40, fault_share=0), root / "c")
    place = pipeline.prepare(load("demo_bp", TINY), cohort, root / "s")
    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", few)
        experiment.run(load("demo_bp", TINY), [place], root / "run")
    return root / "run"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(Cohort(n_subjects=1, records_per_subject=1, record_s=64, fault_share=0), tmp_path_factory.mktemp("d") / "c")
    return root / "s001" / "s001_1.hea"


@pytest.fixture(scope="module")
def expected(run: Path, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("p") / "p.csv"
    predict_file(run, recording, out)
    return pd.read_csv(out)


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == before


def call(*words: str) -> int:
    app = typer.Typer()
    verb.register(app)
    # Two commands, so that the name of one has to be said as in the whole program.
    app.command(name="other")(lambda: None)
    code = typer.main.get_command(app).main(["live", *words], standalone_mode=False)
    return code if isinstance(code, int) else 0


def same(frame: pd.DataFrame, expected: pd.DataFrame) -> None:
    settled = frame[frame["state"] == "settled"]
    assert settled["onset_s"].tolist() == expected["onset_s"].tolist()
    numbers = [name for name in expected if name != "record"]
    np.testing.assert_allclose(settled[numbers], expected[numbers], atol=1e-3)


def test_a_file_in_a_hurry_gives_the_table_of_predict(
    run: Path, recording: Path, expected: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.csv"
    assert call(str(run), str(recording), "--speed", "max", "--out", str(out)) == 0
    told, aside = capsys.readouterr()
    same(pd.read_csv(out), expected)
    same(pd.read_csv(io.StringIO(told)), expected)
    assert list(pd.read_csv(out))[: len(list(expected))] == list(expected)
    assert set(pd.read_csv(out)["state"]) == {"settled"}
    assert pd.read_csv(out)["record"].unique().tolist() == ["s001_1"]
    assert "Research use only" in aside
    assert f"ended: {len(expected)} windows in 1 min 04 s of signal" in aside
    # Once more: added, and said.
    call(str(run), str(recording), "--speed", "max", "--out", str(out), "--provisional", "--settle", "200")
    assert f"{out}: goes on after {len(expected)} rows" in capsys.readouterr().err
    again = pd.read_csv(out)
    assert again["session"].nunique() == 2
    same(again[again["session"] == again["session"].iloc[-1]], expected)


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    class Pipe:
        buffer = io.BytesIO(text.encode())

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Pipe())


def as_csv(recording: Path) -> str:
    channels = open_source(entry_for(recording)).read().channels
    ppg, ecg = channels["ppg"], channels["ecg"]
    rows = zip(np.arange(ppg.samples.size) / ppg.fs, ppg.samples, ecg.samples, strict=True)
    return "time,PLETH,II\n" + "".join(f"{t:.4f},{p!r},{e!r}\n" for t, p, e in ((t, float(p), float(e)) for t, p, e in rows))


def test_a_pipe_gives_the_same(
    run: Path, recording: Path, expected: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, as_csv(recording))
    call(str(run), "--no-provisional")
    told = pd.read_csv(io.StringIO(capsys.readouterr().out))
    same(told, expected)
    assert told["record"].unique().tolist() == ["stdin"]


def test_what_is_told_of_the_person_and_of_the_channels_counts(
    run: Path, recording: Path, expected: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    call(str(run), str(recording), "--speed", "max", "--person", "age_years=90", "--person", "weight_kg=120")
    told = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert not np.allclose(told["sbp"], expected["sbp"], atol=1e-3)
    with pytest.raises(BiosigError, match=r"missing channel 'ppg'|none of the channels"):
        call(str(run), str(recording), "--speed", "max", "--channel", "ecg=II")


def test_a_person_and_an_exported_run_can_answer(
    run: Path, recording: Path, expected: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from biosig_mtl.inference import personal
    from biosig_mtl.inference.personal_readings import Reading

    entry = entry_for(recording)
    made = personal.personalise(run, open_source(entry), entry, [Reading(12.0, {"sbp": 140.0, "dbp": 90.0})])
    made.save(tmp_path / "me.personal")
    call(str(run), str(recording), "--speed", "max", "--provisional", "--personal", str(tmp_path / "me.personal"))
    told = pd.read_csv(io.StringIO(capsys.readouterr().out))
    told = told[told["state"] == "settled"]
    assert told["sbp"].iloc[1] == pytest.approx(140, abs=0.1)
    shift = told["sbp"].to_numpy() - expected["sbp"].to_numpy()
    np.testing.assert_allclose(shift, shift[1], atol=1e-3)
    with pytest.raises(RecipeError, match="leave out --onnx and --networks"):
        call(str(run), str(recording), "--personal", "x", "--networks", "1")
    with pytest.raises(DataError, match=r"none\.onnx"):
        call(str(run), str(recording), "--onnx", str(tmp_path / "none.onnx"))


def test_no_window_of_a_replayed_file_crosses_its_seams(run: Path, recording: Path) -> None:
    from biosig_mtl.inference import Predictor
    from biosig_mtl.inference.stream import Stream
    from biosig_mtl.live import Pace, ReplaySource

    predictor = Predictor.load(run)
    opened = replace(open_source(entry_for(recording)), seams_s=np.array([20.3, 48.0]))  # type: ignore[type-var]
    _, cut, made = predictor.preparation.apply(opened.read())
    whole = predictor.frame([(cut, made)])
    for chunk_s in (0.37, 30.0):
        source = ReplaySource(opened, predictor.channels, Pace(math.inf, 1, chunk_s))
        stream = Stream(predictor, source.channels, StreamSettings(context_s=0.0))
        told = [e for part in source.chunks() if part is not None for e in stream.push(part)] + stream.finish()
        assert [(e.onset_s, e.reason) for e in told if e.reason] == [(r.onset_s, r.reason) for r in cut.rejected]
        assert len(cut.rejected) == 1
        found = np.array([e.values["sbp"] for e in told if not e.reason], np.float64)
        np.testing.assert_allclose(found, whole["sbp"], atol=1e-3)


def test_a_polite_kill_ends_with_what_had_arrived(
    run: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.csv"

    def when_told() -> None:
        while not out.exists() or len(out.read_text().splitlines()) < 3:
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=when_told, daemon=True)
    watcher.start()
    assert call(str(run), str(recording), "--speed", "30", "--rounds", "0", "--out", str(out)) == 0
    watcher.join()
    assert "stopped: " in capsys.readouterr().err
    frame = pd.read_csv(out)
    assert set(frame["state"]) == {"settled", "provisional"}
    # Every window that was told as provisional has got its last word.
    assert set(frame.loc[frame["state"] == "provisional", "onset_s"]) <= set(frame.loc[frame["state"] == "settled", "onset_s"])


def test_the_page_is_there_while_it_runs_and_stays_when_asked(
    run: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stayed: list[str] = []
    monkeypatch.setattr(verb, "_stay", stayed.append)
    call(str(run), str(recording), "--speed", "max", "--page", "0", "--stay")
    assert stayed[0].startswith("http://127.0.0.1:")
    assert f"page: {stayed[0]}" in capsys.readouterr().err
    call(str(run), str(recording), "--speed", "max", "--page", "0")
    assert len(stayed) == 1
    call(str(run), str(recording), "--speed", "max", "--page", "0", "--host", "0.0.0.0")
    assert "can watch; there is no password" in capsys.readouterr().err
    assert not [t for t in threading.enumerate() if t.name == "page"]
    assert pages.HOME == "127.0.0.1"


def test_staying_ends_with_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import time

    def interrupted(*_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    verb._stay("http://here/")
    assert capsys.readouterr().err == "the page stays at http://here/ until Ctrl-C\n"


def test_a_terminal_gets_a_picture(
    run: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    call(str(run), str(recording), "--speed", "max", "--no-stay")
    shown = capsys.readouterr().out
    assert "Ctrl-C ends" in shown
    assert "ended: " in shown
    call(str(run), str(recording), "--speed", "max", "--plain")
    assert capsys.readouterr().out.startswith("record,onset_s")


def test_lsl_is_asked_for_the_stream(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import biosig_mtl.live as rooms

    asked: list[Any] = []

    def lost(settings: Any) -> Any:
        asked.append(settings)
        raise DataError("lsl:watch: no stream")

    monkeypatch.setattr(rooms, "LslSource", lost)
    with pytest.raises(DataError, match="no stream"):
        call(str(run), "lsl:watch", "--channel", "ppg=finger")
    assert (asked[0].stream, asked[0].channels["ppg"]) == ("watch", ("finger",))
    assert set(asked[0].only) == {"ppg", "ecg"}
    with pytest.raises(RecipeError, match="need the name of a stream"):
        call(str(run), "lsl:")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--speed", "fast"), "--speed fast: write a number, or max"),
        (("--speed", "0"), "need a speed above 0"),
        (("--speed", "nan"), "need a speed above 0"),
        (("--channel", "ppg"), "--channel ppg: write it as NAME=VALUE"),
        (("--channel", "pgp=x"), "'pgp'"),
        (("--person", "age_years=old"), "--person age_years=old: not a number"),
        (("--person", "age=3"), "'age'; choose from age_years"),
        (("--settle", "-1"), "need settle_s >= 0"),
        (("--rest", "x"), "--rest x: write it as START:STOP in seconds"),
        (("--rest", "9:3"), "need a rest that ends after it starts"),
        (("--out", "x.parquet"), "give a name that ends in .csv"),
        (("--page", "0", "--host", "192.0.2.1"), "cannot listen on"),
    ],
)
def test_wrong_words_are_one_line(run: Path, recording: Path, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(RecipeError) as error:
        call(str(run), str(recording), *words)
    assert says in str(error.value)
    assert error.value.exit_code == 2


def test_what_is_no_recording_is_one_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="nowhere"):
        call(str(tmp_path / "nowhere"), "-")
    with pytest.raises(DataError, match=r"none\.hea"):
        call(str(run), str(tmp_path / "none.hea"))
    pd.DataFrame({"time": np.arange(5000) / 125, "ppg": np.zeros(5000), "ecg": np.zeros(5000)}).to_csv(
        tmp_path / "flat.csv", index=False
    )
    with pytest.raises(DataError, match=r"flat\.csv: no usable window \(.+\)") as error:
        call(str(run), str(tmp_path / "flat.csv"), "--speed", "max")
    assert error.value.exit_code == 3
    piped(monkeypatch, "time,ppg,ecg\n")
    with pytest.raises(DataError, match="do not advance"):
        call(str(run), "-")
    monkeypatch.setattr(sys, "stdin", type("Keys", (), {"isatty": staticmethod(lambda: True)}))
    with pytest.raises(RecipeError, match="standard input is the keyboard"):
        call(str(run), "-")


def test_a_pipe_that_is_closed_ends_the_view(
    run: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            if self.tell() > 200:
                raise BrokenPipeError(32, "Broken pipe")
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", Closed())
    assert call(str(run), str(recording), "--speed", "max", "--out", str(tmp_path / "a.csv")) == 0
