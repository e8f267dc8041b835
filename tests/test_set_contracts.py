"""Laws of every format that finds its records by rules of its own: what is listed can be opened, read whole or in parts.

A new entry of `LISTERS` is found here by its table and must come with an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.data import affect_cohort, manifest
from biosig_mtl.data.affect import faced
from biosig_mtl.data.listing import Listing, entries
from biosig_mtl.data.readers import LISTERS, READERS, open_source
from biosig_mtl.types import BiosigError, Source
from tests import affect_sets
from tests.data.affect import test_deap, test_faced, writers_b
from tests.test_contracts import same

Make = Callable[[Path, pytest.MonkeyPatch], object]


def bdf_example(root: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    test_deap.write_bdf(root / "s01.bdf", 0x18FF00, test_deap.TWENTE)
    test_deap.write_table(root, 1, (11, 7, 3))


def faced_example(root: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(faced, "SAMPLES", 750)
    test_faced.written(root / "Processed_data" / "sub000.pkl")


def e4_example(root: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    writers_b.zipped(root / "P01.zip", writers_b.e4_texts(writers_b.e4_streams(30)))


def paired_example(root: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    affect_cohort.write(affect_cohort.AffectCohort(n_subjects=1, n_stimuli=2, clip_s=10), root / "cohort")


def gameemo_example(root: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    writers_b.gameemo(root)


# Format → (manifest, how a small data set of it is made, its folder below the root).
EXAMPLES: dict[str, tuple[str, Make, str]] = {
    "amigos": ("amigos", affect_sets.amigos, ""),
    "case": ("case", affect_sets.case, ""),
    "dasps": ("dasps", affect_sets.dasps, ""),
    "deap": ("deap", affect_sets.deap, ""),
    "deap_bdf": ("deap_bdf", bdf_example, ""),
    "dreamer": ("dreamer", affect_sets.dreamer, ""),
    "e4": ("empatica_e4", e4_example, ""),
    "faced": ("faced", faced_example, ""),
    "gameemo": ("gameemo", gameemo_example, ""),
    "kemocon": ("kemocon", affect_sets.kemocon, ""),
    "mahnob": ("mahnob_hci", affect_sets.mahnob, ""),
    "paired": ("simulated_affect", paired_example, "cohort"),
    "seed": ("seed", affect_sets.seed, ""),
    "stress_predict": ("stress_predict", affect_sets.stress_predict, ""),
    "wesad": ("wesad", affect_sets.wesad, ""),
}


@pytest.fixture(scope="module", params=sorted(LISTERS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Return format, folder and listing of one example; sizes that a maker shrinks stay small while it is looked at."""
    name, make, below = EXAMPLES[request.param]
    root = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        make(root, patch)
        yield request.param, root / below, entries(manifest.load(name), root / below)


def test_every_format_with_a_lister_has_an_example_and_a_reader() -> None:
    assert set(EXAMPLES) == set(LISTERS) <= set(READERS)
    assert all(manifest.load(name).format == form for form, (name, _, _) in EXAMPLES.items())


def test_what_is_listed_is_named_once_and_lies_in_the_folder(made: tuple[str, Path, Listing]) -> None:
    _, root, listing = made
    names = [entry.record for entry in listing.entries]
    assert names
    assert len(set(names)) == len(names)
    assert all(entry.path.resolve().is_relative_to(root.resolve()) and entry.path.exists() for entry in listing.entries)
    assert all(entry.subject and entry.session for entry in listing.entries)
    assert not {r.record for r in listing.rejected} & set(names)
    assert all(r.reason and "\n" not in r.reason for r in listing.rejected)


def test_a_record_reads_the_same_whole_twice_and_in_parts(made: tuple[str, Path, Listing]) -> None:
    _, root, listing = made
    before = {p: p.stat().st_size for p in root.rglob("*") if p.is_file()}
    for entry in (listing.entries[0], listing.entries[-1]):
        source = open_source(entry)
        assert isinstance(source, Source)
        whole = source.read()
        assert (whole.name, whole.subject, whole.session) == (entry.record, entry.subject, entry.session)
        assert (whole.stimulus, whole.labels, whole.start_s) == (entry.stimulus, entry.labels, 0.0)
        for ours, channel in whole.channels.items():
            told = source.channels[ours]
            assert (told.name, told.kind, told.unit, told.fs) == (channel.name, channel.kind, channel.unit, channel.fs)
            assert channel.samples.dtype == np.float32
            assert not np.isinf(channel.samples).any()
            assert abs(channel.samples.size - source.duration_s * channel.fs) <= 1
        assert any(c.samples.size and np.nanstd(c.samples) > 0 for c in whole.channels.values() if c.kind != "label")
        same(whole.channels, open_source(entry).read().channels)
        ends = [0.0, 1.0, 3.0, source.duration_s / 2, source.duration_s]
        parts = [source.read(a, b) for a, b in pairwise(sorted(ends))]
        for ours in whole.channels:
            joined = np.concatenate([part.channel(ours).samples for part in parts])
            np.testing.assert_array_equal(joined, whole.channel(ours).samples, err_msg=ours)
        beyond = source.read(source.duration_s + 5, source.duration_s + 9)
        assert all(c.samples.size == 0 for c in beyond.channels.values())
        if whole.baseline_s is not None:
            assert 0 <= whole.baseline_s[0] < whole.baseline_s[1] < source.duration_s
    assert {p: p.stat().st_size for p in root.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("form", sorted(LISTERS))
def test_a_file_cut_short_or_of_noise_is_told_in_one_line(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, make, below = EXAMPLES[form]
    make(tmp_path, monkeypatch)
    root = tmp_path / below
    victim = next(e.path for e in entries(manifest.load(name), root).entries)
    victim = victim if victim.is_file() else next(p for p in sorted(victim.rglob("*")) if p.is_file())
    kept = victim.read_bytes()
    told = []
    for content in (kept[: len(kept) // 3], kept[:5], np.random.default_rng(0).bytes(5000)):
        victim.write_bytes(content)
        # Either it is refused in its own words, or what can still be read is read.
        try:
            for entry in entries(manifest.load(name), root).entries[:3]:
                open_source(entry).read()
        except BiosigError as error:
            told.append(str(error))
    assert all("\n" not in text and len(text) < 700 for text in told)
