"""What came of a joint training, in words and as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALONE = "alone"


def headline(made: Mapping[str, Any]) -> str:
    """Say in a sentence or two for how many targets learning together helped, and for how many it did harm."""
    told = []
    verdicts: dict[str, list[tuple[str, str]]] = {}
    for one in made["sets"]:
        for name, target in one["targets"].items():
            for label, gain in target["gains"].items():
                verdicts.setdefault(label, []).append((gain["verdict"], f"{name} ({one['name']})"))
    for label, found in verdicts.items():
        better, worse = ([where for verdict, where in found if verdict == word] for word in ("better", "worse"))
        if not better:
            said = "helps with no target: no interval of the gain over the network of the set alone lies above 0"
        else:
            said = f"helps with {len(better)} of {len(found)} targets: {', '.join(better)}"
        if worse:
            said += f"; it does harm to {len(worse)}: {', '.join(worse)}"
        told.append(f"{label}: {said}.")
    return " ".join(told)


def page(made: Mapping[str, Any]) -> str:
    """Return the page: the headline, a table of every set, what was left out, and the audit."""
    lines = ["# Joint training", "", made["headline"], ""]
    lines += [f"Network: {made['network']}; parameters: {_counts(made['parameters'])}.", ""]
    for one in made["sets"]:
        lines += [*_set(one), ""]
    pairs = made["people_in_several_sets"]
    told = [f"{len(pairs)} pairs of ids of different sets share waveform and count as one person"] if pairs else []
    lines += [f"- {sentence}" for sentence in (*told, *made["notes"])]
    lines += ["", *_audit(made["audit"])]
    return "\n".join(lines) + "\n"


def _counts(given: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in given.items())


def _set(one: Mapping[str, Any]) -> list[str]:
    stamps = f" [{'; '.join(one['stamps'])}]" if one["stamps"] else ""
    lines = [
        f"## {one['name']} ({one['dataset']}){stamps}",
        "",
        f"{one['windows']} windows of {one['people']} people; {one['features']} features, of which another set has "
        f"{one['features_shared']}; tested in {one['folds']} folds.",
        "",
        "| target | who | error (95 % interval) | gain over the network of this set alone, % |",
        "|---|---|--:|--:|",
    ]
    for name, target in one["targets"].items():
        for label, error in target["errors"].items():
            gain = target["gains"].get(label)
            lines.append(f"| {name} | {label} | {_figure(error, 3)} | {_gain(gain)} |")
    errors = {target["error"] for target in one["targets"].values()}
    lines += ["", f"Error: {' or '.join(sorted(errors))}."]
    return lines + [f"- {name}: {why}" for name, why in one["absent"].items()]


def _gain(gain: Mapping[str, Any] | None) -> str:
    return "" if gain is None else f"{_figure(gain, 1)} {gain['verdict']}"


def _figure(given: Mapping[str, Any], digits: int) -> str:
    value, low, high = (_number(one, digits) for one in (given["value"], *given["ci95"]))
    return f"{value} ({low} to {high})"


def _number(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _audit(audit: Mapping[str, Any]) -> list[str]:
    lines = [f"Audit: {'passed' if audit['passed'] else 'FAILED'}.", ""]
    return lines + [f"- {'passed' if c['passed'] else 'FAILED'} {c['name']}: {c['detail']}" for c in audit["checks"]]
