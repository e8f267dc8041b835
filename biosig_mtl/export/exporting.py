"""A run folder → one file: the graph, its recipe beside it, and the figures that say what it is worth."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.export import cost, int8
from biosig_mtl.export.chosen import choose_members, place_of
from biosig_mtl.export.describing import description, put_into, recipe_file
from biosig_mtl.export.graph import OPSET, check_opset, graph_of
from biosig_mtl.export.parity import Evidence, Parity, noise, parity, rows_of, some
from biosig_mtl.export.runtime import RECIPE_SUFFIX, Exported
from biosig_mtl.inference import Predictor
from biosig_mtl.inference.writing import put
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.types import DataError, RecipeError

FIGURES_SUFFIX = ".export.json"
INT8_SUFFIX = ".int8.onnx"
TIMED = 200
# More than this is said in words.
HARM_MMHG = 0.1


@dataclass(frozen=True)
class ExportSettings:
    """How a run is exported: ``members`` as in `choose_members`, ``opset`` the version of the operators; ``int8`` writes a
    second file in 8 bits beside the first.
    """

    members: str = "all"
    opset: int = OPSET
    int8: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        check_opset(self.opset)


@dataclass(frozen=True)
class Written:
    """What was written: the model, the recipe beside it, further files, the figures, and sentences for people."""

    model: Path
    recipe: Path
    figures: Mapping[str, Any]
    lines: tuple[str, ...]
    beside: tuple[Path, ...] = ()


PLAIN = ExportSettings()


def export(run: Path, out: Path, settings: ExportSettings = PLAIN, evidence: Evidence | None = None) -> Written:
    """Write the networks of a run as one graph of ONNX, with the recipe of its preparation beside it.

    Parameters
    ----------
    run
        Run folder.
    out
        ``….onnx``. Beside it come ``….recipe.json``, ``….export.json`` with all figures, and ``….int8.onnx`` where asked for.
    settings
        See `ExportSettings`.
    evidence
        Windows of the run's store: parity is checked on them, and costs are measured. None: parity on noise, no costs.

    Raises
    ------
    RecipeError
        A wrong word; 8 bits without the windows that their ranges are taken from.
    DataError
        No run folder, an altered model, a graph that does not say what the networks say: then nothing is written.
    """
    if out.suffix != ".onnx":
        raise RecipeError(f"--out {out}: need a name that ends in .onnx")
    if settings.int8 and evidence is None:
        raise RecipeError("--int8: ranges are taken from windows of training people; give the run's stores with --store")
    predictor = Predictor.load(run)
    ensemble = predictor.ensemble
    chosen = choose_members(ensemble.members, settings.members)
    half = predictor.half_width if predictor.half_width.size else np.full(len(ensemble.spec.targets), np.nan)
    proto, whole = graph_of(chosen, ensemble.spec, half, settings.opset)
    by_name = {member.name: member for member in chosen}
    chosen = tuple(by_name[name] for name in whole.order)
    told = description(run, predictor, whole, half)
    put_into(proto, told)
    found = _proved(proto, chosen, predictor, evidence)
    put_into(proto, {**told, "parity": asdict(found)})
    content = proto.SerializeToString()
    exported = Exported.of(content)
    figures: dict[str, Any] = {
        "networks": len(chosen),
        "networks_of_the_run": len(ensemble.members),
        "opset": settings.opset,
        "nodes": len(proto.graph.node),
        "bytes": len(content),
        "parity": asdict(found),
        "one_window_ms": one_window_ms(exported, chosen[0], evidence),
    }
    files = {out.name: content}
    if evidence is not None:
        _measure(figures, files, _Case(predictor, chosen, exported, evidence, out), settings)
    return _write(out, files, figures, told, predictor)


def _proved(proto: Any, chosen: Sequence[Member], predictor: Predictor, evidence: Evidence | None) -> Parity:
    import onnx

    content = proto.SerializeToString()
    try:
        onnx.checker.check_model(content, full_check=True)
    except Exception as error:  # (the checker has errors of its own kinds)
        raise DataError(f"the graph is not valid ONNX: {' '.join(str(error).split())[:160]}") from error
    table = evidence.table if evidence is not None else None
    return parity(Exported.of(content), chosen, predictor.ensemble.spec, table)


@dataclass(frozen=True)
class _Case:
    """What costs are measured of."""

    predictor: Predictor
    chosen: Sequence[Member]
    exported: Exported
    evidence: Evidence
    out: Path


def _measure(figures: dict[str, Any], files: dict[str, bytes], case: _Case, settings: ExportSettings) -> None:
    """Measure what fewer networks, and 8 bits, cost; add the file in 8 bits."""
    members = case.predictor.ensemble.members
    rows = cost.rows_tested(case.evidence, cost.MOST_WINDOWS)
    if not rows.size or not (settings.int8 or len(case.chosen) < len(members)):
        return
    table = rows_of(case.evidence.table, rows)
    names = tuple(member.name for member in case.chosen)
    if len(case.chosen) < len(members):
        said = cost.each_answer(members, table)
        every = tuple(member.name for member in members)
        own = said[:, [every.index(name) for name in names]]
        figures["fewer_networks"] = [c.content() for c in cost.costs((every, said), (names, own), case.evidence, rows)]
    if settings.int8:
        learned = int8.rows_learned(case.evidence, frozenset(place_of(name)[:2] for name in names))
        content = int8.quantised(files[case.out.name], case.evidence, learned)
        small = Exported.of(content)
        before, after = (one.predict_full(table).networks for one in (case.exported, small))
        files[case.out.with_suffix(INT8_SUFFIX).name] = content
        figures["int8"] = {
            "bytes": len(content),
            "one_window_ms": one_window_ms(small, case.chosen[0], case.evidence),
            "calibration_windows": int(learned.size),
            "costs": [c.content() for c in cost.costs((names, before), (names, after), case.evidence, rows)],
        }


def one_window_ms(exported: Exported, member: Member, evidence: Evidence | None) -> dict[str, float]:
    """Return the median and the 99th percentile of the time for one window, in ms, with one thread on this machine."""
    table = some(evidence.table, 1) if evidence is not None else noise(member, exported.spec, 1)
    table = rows_of(table, np.arange(1))
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        exported.predict_full(table)
        times.append(1e3 * (time.perf_counter() - start))
    return {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99))}


def _write(
    out: Path, files: Mapping[str, bytes], figures: Mapping[str, Any], told: Mapping[str, Any], predictor: Predictor
) -> Written:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    recipe = out.with_name(out.stem + RECIPE_SUFFIX)
    beside = recipe_file({**told, "parity": figures["parity"]}, predictor, sums)
    texts = {recipe.name: beside, f"{out.stem}{FIGURES_SUFFIX}": {**figures, "sha256": sums}}
    for name, content in texts.items():
        whole = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        put(out.with_name(name), whole.encode())
    # The model last: a recipe without a model is seen at once, a model with an old recipe beside it would be refused.
    for name in reversed(list(files)):
        put(out.with_name(name), files[name])
    others = [out.with_name(name) for name in (*files, f"{out.stem}{FIGURES_SUFFIX}") if name != out.name]
    return Written(out, recipe, figures, tuple(in_words(figures, told["units"])), tuple(others))


def in_words(figures: Mapping[str, Any], units: Mapping[str, str]) -> list[str]:
    """Return the figures as sentences."""
    found, time_ms = figures["parity"], figures["one_window_ms"]
    on = "windows of the run's store" if found["on"] == "store" else "windows of noise (no store was given)"
    lines = [
        f"{figures['networks']} of {figures['networks_of_the_run']} networks in one graph: {figures['bytes'] / 1e6:.1f} MB, "
        f"{figures['nodes']} operations, one window in {time_ms['p50']:.2f} ms (p99 {time_ms['p99']:.2f} ms) on one thread",
        f"parity: {found['worst']:.1e} at most, on {found['windows']} {on}",
    ]
    fewer = figures.get("fewer_networks", ())
    lines += [f"fewer networks, {_cost_in_words(one, units, 'all networks', 'these')}" for one in fewer]
    if "int8" in figures:
        lines += _int8_in_words(figures, units)
    return lines


def _int8_in_words(figures: Mapping[str, Any], units: Mapping[str, str]) -> list[str]:
    small = figures["int8"]
    faster, whole = small["one_window_ms"]["p50"], figures["one_window_ms"]["p50"]
    lines = [
        f"8 bits: {small['bytes'] / 1e6:.1f} MB instead of {figures['bytes'] / 1e6:.1f} MB, one window in {faster:.2f} ms "
        f"instead of {whole:.2f} ms"
    ]
    lines += [f"8 bits, {_cost_in_words(one, units, 'float', '8 bits')}" for one in small["costs"]]
    harmed = [one["target"] for one in small["costs"] if units.get(one["target"]) == "mmHg" and _harm(one) > HARM_MMHG]
    if harmed:
        lines.append(f"8 bits harm {' and '.join(harmed)} by more than {HARM_MMHG:g} mmHg: use the file in float")
    if faster >= whole:
        lines.append("8 bits are not faster here: use the file in float")
    return lines


def _harm(one: Mapping[str, Any]) -> float:
    before, after = one["mae_before"], one["mae_after"]
    return float(one["mean_difference"] if before is None else after - before)


def _cost_in_words(one: Mapping[str, Any], units: Mapping[str, str], before: str, after: str) -> str:
    unit = units.get(one["target"], "")
    text = (
        f"{one['target']}: differs by {one['mean_difference']:.2f} {unit} in the mean, {one['p95_difference']:.2f} at the 95th "
        f"percentile, {one['max_difference']:.2f} at most, over {one['windows']} windows"
    )
    if one["mae_before"] is None:
        return f"{text}; no error on unseen people could be measured"
    gap = one["mae_after"] - one["mae_before"]
    return (
        f"{text}; mean error on unseen people {one['mae_after']:.2f} ({after}) against {one['mae_before']:.2f} ({before}), "
        f"{gap:+.2f} {unit}, on {one['judged']} windows"
    )
