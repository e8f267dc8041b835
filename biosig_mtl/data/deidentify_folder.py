"""The folder of a clean copy: whose it is, what is in it, and the index and manifest by which it is prepared."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosig_mtl.data.deidentify_allowed import FACTS, TARGETS
from biosig_mtl.data.manifest_schema import Access, Index, Manifest, SourceChannel
from biosig_mtl.recipe import dump
from biosig_mtl.types import DataError, RecipeError

if TYPE_CHECKING:
    from biosig_mtl.data.deidentify import Cleaned

REPORT = "deidentified.json"
MANIFEST = "manifest.yaml"
INDEX = "records.csv"
WORDS = (
    "Identifiers were removed from headers, labels and names. That does not prove anonymity: a waveform such as an ECG can "
    "itself identify a person."
)
_NAME = "deidentified"
_COLUMNS = ("record", "subject", "session", "person", "stimulus", "begins_s", "day")


@dataclass(frozen=True, slots=True)
class Folder:
    """A clean copy in work. ``owner`` tells, under the secret of the mapping, from which mapping and data set it is."""

    path: Path
    owner: str
    adds_up: bool

    @classmethod
    def claim(cls, path: Path, owner: str, *, adds_up: bool) -> Folder:
        """Take a new or empty folder, or one that the same mapping and data set began.

        Raises
        ------
        DataError
            It holds something else, or cannot be made.
        """
        mark = path / REPORT
        if path.exists() and not (path.is_dir() and (mark.is_file() or not any(path.iterdir()))):
            raise DataError(f"{path}: holds something else than a clean copy; choose an empty folder")
        if mark.is_file() and read_told(mark).get("owner") != owner:
            raise DataError(f"{path}: a clean copy of other data, or with another mapping; choose an empty folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{path}: cannot be made: {error.strerror}") from error
        made = cls(path, owner, adds_up)
        if not mark.is_file():
            made._put(REPORT, json.dumps({"owner": owner, "finished": False}) + "\n")
        return made

    def told(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the name of every record that is there whole, and what is told of it."""
        for path in sorted((self.path / "records").glob("*/*.json")):
            content = read_told(path)
            if "source" in content:
                yield path.stem, content

    def forget(self, subject: str, name: str) -> None:
        """Remove a record that an earlier run wrote and that now cannot be."""
        for suffix in (".json", ".hea", ".dat"):
            (self.path / "records" / subject / f"{name}{suffix}").unlink(missing_ok=True)

    def sweep(self, names: set[str]) -> None:
        """Remove records that the data set no longer has: somebody may have taken back a consent."""
        for name, told in [] if self.adds_up else list(self.told()):
            if name not in names:
                self.forget(told["subject"], name)
                with suppress(OSError):
                    (self.path / "records" / told["subject"]).rmdir()

    def finish(self, manifest: Manifest | None, cleaned: Cleaned, settings: Mapping[str, object]) -> None:
        """Write index, manifest and report.

        Raises
        ------
        DataError
            There is no record; labels of one name have several units.
        """
        told = list(self.told())
        if not told:
            raise DataError(f"{self.path}: none of {cleaned.given} records could be written; see {cleaned.reasons}")
        units = _units(told)
        rows = [_row(name, one, sorted(units)) for name, one in told]
        with (self.path / INDEX).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow([*_COLUMNS, *FACTS, *sorted(units)])
            writer.writerows(rows)
        self._put(MANIFEST, dump(_manifest(manifest, [one for _, one in told], units)))
        counts = {"given": cleaned.given, "refused": cleaned.refused, "records": len(told), "rounded_channels": cleaned.rounded}
        content = {"owner": self.owner, "finished": True, "what": WORDS, "settings": settings, **counts, "gone": cleaned.gone}
        self._put(REPORT, json.dumps(content, indent=1) + "\n")

    def _put(self, name: str, text: str) -> None:
        temporary = self.path / f".{name}.tmp"
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path / name)
        except OSError as error:
            raise DataError(f"{self.path / name}: cannot be written: {error.strerror}") from error


def apart(out: Path, paths: Sequence[Path], *, whole: bool) -> None:
    """Refuse a copy among the originals, or originals in the copy.

    Raises
    ------
    RecipeError
        ``out`` holds a recording that is to be copied; or, where these are a ``whole`` data set, lies in its folder.
    """
    here = out.resolve()
    places = [p.resolve() for p in paths]
    root = Path(os.path.commonpath([p.parent for p in places])) if whole and places else None
    if any(p.is_relative_to(here) for p in places) or (root is not None and here.is_relative_to(root)):
        raise RecipeError(f"--out {out}: lies among the recordings; choose a folder elsewhere")


def read_told(path: Path) -> dict[str, Any]:
    """Return a JSON file of the copy; nothing where it is missing or damaged: then it is written again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        data = path.with_suffix(".dat")
        if "bytes" in content and not (data.with_suffix(".hea").is_file() and data.stat().st_size == content["bytes"]):
            return {}
    except (OSError, ValueError, RecursionError, TypeError):
        return {}
    return content if isinstance(content, dict) else {}


def _units(told: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    units: dict[str, str] = {}
    for name, one in told:
        for label, value in one["labels"].items():
            if units.setdefault(label, value["unit"]) != value["unit"]:
                raise DataError(f"{name}: label '{label}' is in {value['unit']}, elsewhere in {units[label]}")
    return units


def _row(name: str, one: Mapping[str, Any], labels: Sequence[str]) -> list[object]:
    cells = {"record": name, **one}
    values = [one["labels"].get(label, {}).get("value") for label in labels]
    return ["" if v is None else v for v in (*(cells[c] for c in _COLUMNS), *(one["facts"].get(f) for f in FACTS), *values)]


def _manifest(manifest: Manifest | None, told: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of the copy's manifest. Of the words of a data set only those stay that come with the package."""
    channels: dict[str, dict[str, Any]] = {}
    for one in told:
        for name, about in one["channels"].items():
            channels.setdefault(name, {"names": [name], "unit": about["unit"], "fs_hz": about["fs_hz"]})
    answered = {*units, *(label for label in (manifest.labels if manifest else ()) if label in TARGETS)}
    known = manifest if manifest is not None and _is_shipped(manifest) else None
    made = Manifest(
        name=_NAME,
        title=f"De-identified copy{f' of {known.title}' if known else ''}",
        version="1",
        licence=known.licence if known else "that of the original",
        citation=known.citation if known else "that of the original",
        doi=known.doi if known else "",
        access=Access(kind="registration", note=WORDS),
        format="deidentified",
        index=Index(
            file=INDEX,
            session="session",
            path="records/{subject}/{record}.hea",
            demographics={fact: fact for fact in FACTS},
            labels={label: label for label in units},
            scales=dict(units),
            stimulus="stimulus",
            begins="begins_s",
            person="person",
        ),
        channels=tuple(SourceChannel(n, tuple(c["names"]), c["unit"], c["fs_hz"]) for n, c in channels.items()),
        labels=dict.fromkeys(sorted(answered), "as in the original"),
        subject_level=manifest.subject_level if manifest else "record",
        timing_reliable=bool(manifest and manifest.timing_reliable),
        timing_reason=known.timing_reason if known else "as told of the original",
        options=_options(manifest),
        simulated=bool(manifest and manifest.simulated),
    )
    content = {k: v for k, v in vars(made).items() if v not in ((), {}, "", None)}
    return content | {"channels": channels}


def _options(manifest: Manifest | None) -> dict[str, Any]:
    band = manifest.options.get("pass_band_hz") if manifest else None
    numbers = isinstance(band, list | tuple) and all(isinstance(edge, int | float) for edge in band)
    return {"pass_band_hz": list(band or ())} if numbers else {}


def _is_shipped(manifest: Manifest) -> bool:
    from biosig_mtl.data import manifest as manifests

    return manifest.name in manifests.names() and manifests.load(manifest.name) == manifest
