"""Nobody's name gets into a run: a whole main job on recordings with words in every free text, and all that is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.interop import opened, to_mne
from tests.privacy import searching, seeded
from tests.privacy.test_deidentify_copy import name_them
from tests.privacy.test_seeded_formats import call

pytestmark = pytest.mark.slow
TINY = (
    "model.kernel_landmarks=0",
    "training.ensemble=1",
    "split.folds=2",
    "training.epochs=1",
    "model.width=8",
    "model.heads=2",
)
# Names of subjects and records are the index of a store and are in it by design: `deidentify` gives others.
WORDS = ("KanariIndexName", "KanariComment", "14.03.1987", "14/03/1987", "21/03/1987", "23/07/1931", "15:09:26")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A cohort with seeded headers and index, run, and all that the verbs made of it; with all that they said."""
    from biosig_mtl.models import baselines

    folder = tmp_path_factory.mktemp("ward")
    made = write(Cohort(n_subjects=8, records_per_subject=1, record_s=40, fault_share=0.1), folder / "in" / "c")
    name_them(made)
    out, settings = folder / "out", [w for one in (*TINY, "split.negative_control=false") for w in ("--set", one)]
    run = out / "run"
    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", few)
        said = [call("run", "demo_bp", "--data", made, "--out", run, "--workers", "1", *settings)]
    said.append(call("report", run))
    said.append(call("audit", run))
    said.append(call("paper", run))
    said.append(call("card", run))
    said.append(call("export", run, "--out", out / "model.onnx", "--runner", out / "runner"))
    said.append(call("data", "describe", "simulated_bp"))
    (store,) = (out / "store").iterdir()
    said.append(call("store", "verify", store))
    assert [code for code, _ in said[:2]] == [0, 0], said
    return out, [text for _, text in said]


def test_no_word_of_the_recordings_is_in_a_run_or_what_is_made_of_it(ward: tuple[Path, list[str]]) -> None:
    out, said = ward
    (out / "said.txt").write_text("\n".join(said), encoding="utf-8")
    assert (out / "model.onnx").is_file()
    assert (out / "run" / "report.html").is_file()
    assert (out / "run" / "paper" / "paper.md").is_file()
    assert searching.search(out, WORDS) == []
    # By design, so the search does look into what is there.
    assert searching.search(out / "run", ["KanariSubject"])


def test_the_environment_of_a_run_names_nobody_and_no_machine(ward: tuple[Path, list[str]]) -> None:
    import getpass
    import socket

    told = json.loads((ward[0] / "run" / "environment.json").read_text(encoding="utf-8"))
    text = json.dumps(told).lower()
    assert socket.gethostname().lower() not in text
    assert str(Path.home()).lower() not in text or getpass.getuser() == "root"


@pytest.mark.parametrize("name", [n for n in seeded.MAKERS if n not in {"e4", "ppg_bp"}])
def test_no_word_of_a_recording_is_in_its_estimates(ward: tuple[Path, list[str]], tmp_path: Path, name: str) -> None:
    one = seeded.made(tmp_path / "in", name)
    out = tmp_path / "out"
    out.mkdir()
    for suffix in ("csv", "parquet"):
        code, said = call("predict", ward[0] / "run", one.path, "--out", out / f"table.{suffix}")
        assert code == 0, said
        (out / f"said_{suffix}.txt").write_text(said, encoding="utf-8")
    assert len(pd.read_csv(out / "table.csv"))
    assert searching.search(out, seeded.everywhere(one)) == []


@pytest.mark.parametrize("name", list(seeded.MAKERS))
def test_no_word_of_a_recording_goes_to_other_libraries(tmp_path: Path, name: str) -> None:
    from biosig_mtl.data.readers import entry_for, open_source

    one = seeded.made(tmp_path / "in", name)
    record = open_source(entry_for(one.path)).read()
    out = tmp_path / "out"
    out.mkdir()
    # mne knows one rate a recording.
    raw = to_mne(record, [n for n, c in record.channels.items() if c.kind == "ppg"])
    raw.save(out / "x_raw.fif", verbose="ERROR")
    (out / "shown.txt").write_text(repr(raw.info) + record._repr_html_() + repr(opened), encoding="utf-8")
    assert searching.search(out, seeded.everywhere(one)) == []
