"""The page of a calibration: one self-contained HTML file, written from ``calibration.json`` alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from biosig_mtl import plots, plots_calibration
from biosig_mtl import report_sections as sections
from biosig_mtl.evaluation import schedule
from biosig_mtl.evaluation.held import PEOPLE, POOLED
from biosig_mtl.report import Ink, plainly
from biosig_mtl.report_sections import Picture, as_ends, as_float, number
from biosig_mtl.types import DataError

FILE, PAGE = "calibration.json", "calibration.html"
CHOSEN, COMMON, NEXT, BOTH = "chosen", "common", "next", "both_ways"
NAMES = {
    CHOSEN: "chosen method", "hold_mean": "hold the mean", "hold_last": "hold the last reading",
    "hold_shrunk": "readings drawn to the median of others",
    "offset_corrected": "network, moved by its error at the readings", "network": "network without calibration",
    "population_median": "training median", "subject_mean_oracle": "mean of what is asked (oracle)",
}  # fmt: skip
MEANS = {
    "hold_shrunk": "nearest reading, mean reading and median of other people, in shares fitted on training people; no signal",
    CHOSEN: "in every fold the method that did best on its training people; it may be a way of holding",
    "subject_mean_oracle": "knows each person's mean over the very windows that are asked for, and nobody can",
}


def render(out: str | Path) -> Path:
    """Write ``calibration.html`` into the folder of a calibration and return its path.

    Raises
    ------
    DataError
        There is no calibration in the folder, or its file is broken.
    """
    path = Path(out) / FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: not there; run `biosig-mtl calibrate` first") from error
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON; run `biosig-mtl calibrate` again") from error
    try:
        page = _page(told)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: not as schema 1 says ({error!r}); run `biosig-mtl calibrate` again") from error
    place = path.with_name(PAGE)
    place.write_text(page, encoding="utf-8")
    return place


def _page(told: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        num=sections.number, ci=sections.interval, human=name_of, picture=Ink().inline, plainly=plainly, signed=signed,
        gain_ci=gain_ci, cap=lambda text: text[:1].upper() + text[1:],
    )  # fmt: skip
    least = str(told["counts"][0])
    return environment.get_template("calibration.html.j2").render(
        told=told,
        targets=told["targets"],
        least=least,
        verdict=_verdict(told),
        cards=list(_cards(told)),
        gains=[_gains(told, name) for name in told["targets"]],
        where={name: _where(told, name) for name in told["targets"]},
        tracked=[_changes(told, name) for name in told["targets"]],
        plans=[picture for name in told["targets"] for picture in _plans(told, name)],
        choices=_choices(told),
        means=MEANS,
        style=(templates / "report.css").read_text(encoding="utf-8"),
        common=COMMON,
        nearby=NEXT,
        both=BOTH,
    )


def name_of(word: str) -> str:
    """Write the name of a method for people."""
    return NAMES.get(word, sections.name_of(word))


def signed(value: Any, digits: int = 2) -> str:
    """Write a difference with its sign: ``−0.71``, ``+0.30``.

    >>> signed(-0.714), signed(0.3), signed(None)
    ('−0.71', '+0.30', '–')
    """
    text = number(value, digits)
    return text if text == "–" or text.startswith("−") or float(value) == 0 else f"+{text}"


def gain_ci(gain: Mapping[str, Any]) -> str:
    """Write the interval of a gain, empty where there is none."""
    low, high = gain["ci95"]
    return "" if low is None or high is None else f"{signed(low)} to {signed(high)}"


# -------------------------------------------------------------------------------------------------------------- content
def _verdict(told: Mapping[str, Any]) -> list[str]:
    """Return the sentences of the fewest and of the most readings of each target; the tables tell the others."""
    many = len(told["counts"])
    places = [i * many + j for i in range(len(told["targets"])) for j in dict.fromkeys((0, many - 1))]
    return [told["sentences"][place] for place in places]


def _cards(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is told largest: gain of the fewest and of the most readings, and the changes that were followed."""
    for name, target in told["targets"].items():
        for count in dict.fromkeys((told["counts"][0], told["counts"][-1])):
            own = target[COMMON][str(count)]
            gain = own["methods"][CHOSEN][POOLED]["gain"][own["best_hold"][POOLED]]
            readings = "1 reading" if count == 1 else f"{count} readings"
            yield (
                signed(gain["difference"]),
                f"mmHg {name.upper()}, gain over holding, {readings}, over windows ({gain_ci(gain)})",
            )
        follow = target[COMMON][str(told["counts"][0])]["methods"][CHOSEN]["tracking"]
        share = follow["concordance"]
        written = "–" if share is None else f"{100 * share:.0f} %"
        yield written, f"{name.upper()}, changes of {follow['large']:g} mmHg or more that went the way it said (held: 50 %)"


def _gains(told: Mapping[str, Any], name: str) -> Picture:
    rows = []
    for count in told["counts"]:
        own = told["targets"][name][COMMON][str(count)]
        for how, word in ((POOLED, "windows"), (PEOPLE, "people")):
            gain = own["methods"][CHOSEN][how]["gain"][own["best_hold"][how]]
            ends = as_ends(gain["ci95"])
            rows.append(plots.Estimate(f"K = {count}, {word}", as_float(gain["difference"]), ends, how == POOLED))
    svg = plots.comparison(rows, "gain over holding, mmHg", line=0.0)
    told_in_words = (
        f"{name.upper()}: error of the chosen method less that of the better way of holding. Left of the line is better."
    )
    return Picture(svg, told_in_words)


def _where(told: Mapping[str, Any], name: str) -> list[Picture]:
    """Return the errors by change and by time since calibration of the fewest readings, holding beside the chosen method."""
    own = told["targets"][name][COMMON][str(told["counts"][0])]
    pictures = []
    for key, xlabel, caption in (
        ("by_change", "change of the reference since the reading, mmHg", "by how far the pressure has moved"),
        ("by_since", "time since the reading", "by time since the reading; “other stay” is hours or days, nobody knows"),
    ):
        rows = own[key]
        bins = [f"{row['bin'].replace(' and more', '+')}\nn = {row['n_windows']}" for row in rows]
        errors = {
            "held": [as_float(row["hold"]) for row in rows],
            "chosen method": [as_float(row["methods"][CHOSEN]["mae"]) for row in rows],
        }
        svg = plots_calibration.by_bin(bins, errors, xlabel, "MAE, mmHg")
        pictures.append(Picture(svg, f"{name.upper()}, K = {told['counts'][0]}: error {caption}."))
    return pictures


def _changes(told: Mapping[str, Any], name: str) -> Picture:
    points = told["targets"][name]["tracking_points"]
    follow = told["targets"][name][NEXT][str(told["counts"][0])]["methods"][CHOSEN]["tracking"]
    svg = plots_calibration.changes([p[0] for p in points], [p[1] for p in points], "mmHg", follow["large"])
    caption = (
        f"{name.upper()}, K = {told['counts'][0]}: how far the estimate moved from the reading against how far the reference "
        f"did. The estimate moves {number(follow['slope'], 2)} mmHg for each mmHg of the reference."
    )
    return Picture(svg, caption)


def _plans(told: Mapping[str, Any], name: str) -> list[Picture]:
    plan = told["targets"][name]["schedule"]
    pictures = []
    for unit, xlabel in (("s", "a new reading every"), ("windows", "a new reading every … windows")):
        found = {
            word: [(row["every"], as_float(row["mae"]), *as_ends(row["mae_ci95"])) for row in plan[key][unit]["intervals"]]
            for key, word in ((CHOSEN, "chosen method"), ("hold", "held"))
        } if plan else {}  # fmt: skip
        if found and all(found.values()):
            ticks = {place: _tick(place, unit) for place, *_ in found["held"]}
            svg = plots_calibration.plans(found, schedule.MEAN_LIMIT, xlabel, "MAE, mmHg", ticks)
            ages = "within a stay" if unit == "s" else "counted in windows, over stays too"
            pictures.append(Picture(svg, f"{name.upper()}: error of a plan that takes a reading at equal intervals, {ages}."))
    return pictures


def _tick(place: float, unit: str) -> str:
    if unit != "s":
        return f"{place:g}"
    size, word = (1.0, "s") if place < 60 else (60.0, "min") if place < 3600 else (3600.0, "h")
    return f"{place / size:g} {word}"


def _choices(told: Mapping[str, Any]) -> dict[str, dict[str, dict[str, int]]]:
    """Return how often each method was chosen: {target: {K: {method: folds}}}."""
    found: dict[str, dict[str, dict[str, int]]] = {name: {} for name in told["targets"]}
    for one in told["choice"]:
        for count, by_target in one["chosen"].items():
            for name, method in by_target.items():
                many = found[name].setdefault(count, {})
                many[method] = many.get(method, 0) + 1
    return found
