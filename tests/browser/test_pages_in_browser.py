"""The pages that are files, in a real browser: nothing fails, nothing is asked of others, all of it fits and can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl import looking, report, report_compare
from biosig_mtl.data.readers import entry_for
from biosig_mtl.data.synthetic import Cohort, write
from tests import report_affect_run
from tests.browser.seen_page import LEAST_PX, NARROW, WIDE, Seen
from tests.test_report import write_run

SIZES = {"wide": WIDE, "narrow": NARROW}
# Drawings shrink with the screen; on a phone their text is smaller than other text, and can be enlarged with two fingers.
DRAWN = {"wide": LEAST_PX, "narrow": 8.0}

# Where drawings stand, and how much of each is ink: an SVG with nothing but its frame has few elements.
DRAWINGS = """[...document.querySelectorAll('figure svg')].map(
  (svg) => [svg.querySelectorAll('path, use, rect, image').length, svg.getBoundingClientRect().width])"""


def contest() -> dict[str, Any]:
    """Return what a contest of simulated people would have written."""
    ci = [11.9, 14.1]

    def row(label: str, kind: str, gain: float, verdict: str) -> dict[str, Any]:
        targets = {
            name: {"error": error - gain / 10, "error_ci95": ci, "ccc": None} for name, error in (("sbp", 13.0), ("dbp", 7.5))
        }
        cost = {
            "parameters": 70000,
            "width": 28,
            "train_cpu_s": 1.0,
            "flops_per_window": 1e6,
            "step_ms": 110.0,
            "step_windows": 253,
        }
        return {
            "label": label, "kind": kind, "network": label, "targets": targets, "delta_m": gain,
            "delta_m_ci95": [gain - 1, gain + 1], "verdict": verdict,
            "delta_of_target": {n: {"value": gain, "ci95": [gain - 1, gain + 1]} for n in targets},
            **({**cost, "latency_ms": 1.4} if kind == "network" else {}),
        }  # fmt: skip

    rows = [
        row("single_task", "network", 0.0, "reference"),
        row("hard_sharing", "network", -0.4, "not distinguishable"),
        row("split_merge", "network", 1.8, "better"),
        row("train_median", "baseline", -9.0, "worse"),
        row("gradient_boosting", "baseline", 0.9, "not distinguishable"),
    ]
    ranks = {one["label"]: 2.0 + 0.3 * k for k, one in enumerate(rows)}
    return {
        "schema": 1, "finished": True, "task": "blood_pressure", "dataset": "simulated_bp", "recipe": "demo_bp",
        "protocol": "subject_kfold", "folds": 5, "seeds": [0], "n_subjects": 60, "n_windows": 480, "reference": "single_task",
        "targets": {n: {"unit": "mmHg", "classes": 0, "is": "mean absolute error"} for n in ("sbp", "dbp")},
        "terms": {"seeds": 1, "trials": 1, "sizes": [0.5], "curves": ["split_merge"], "changes": [{}]},
        "headline": "A simulated contest says nothing about real people.",
        "rows": rows, "waiting": [], "absent": {}, "stamps": ["SIMULATED DATA"],
        "ranking": {
            "ranks": ranks, "friedman_p": 0.001, "critical_difference": 1.0, "subjects": 60, "cliques": [list(ranks)[:3]],
        },
        "curves": [
            {"label": label, "size": size, "subjects": 40 * size, "target": target, "error": 14 - size, "error_ci95": ci}
            for label in ("single_task", "split_merge") for size in (0.5, 1.0) for target in ("sbp", "dbp")
        ],
        "audit": {"passed": True, "checks": [{"name": "split_scheme", "passed": True, "detail": "none of 5 folds is random"}]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    cohort = write(Cohort(n_subjects=1, records_per_subject=1, record_s=40, fault_share=0), root / "c")
    seen = looking.view(entry_for(next(cohort.rglob("*.hea"))))
    (root / "contest").mkdir()
    return {
        "report": report.render(write_run(root / "pressure")),
        "affect": report.render(report_affect_run.write_run(root / "stress", "stress")),
        "compare": report_compare.write(contest(), root / "contest").with_suffix(".html"),
        "look": looking.write(seen, root / "look.html"),
    }


@pytest.fixture
def seen(browser: Any, request: pytest.FixtureRequest) -> Iterator[Seen]:
    made = Seen(browser, SIZES[request.param])
    yield made
    made.close()


@pytest.mark.parametrize("name", ["report", "affect", "compare", "look"])
@pytest.mark.parametrize("seen", list(SIZES), indirect=True)
def test_a_page_is_whole(name: str, seen: Seen, pages: dict[str, Path], tmp_path: Path) -> None:
    seen.open(pages[name])
    seen.page.wait_for_load_state("load")
    seen.page.screenshot(path=str(tmp_path / f"{name}.png"), full_page=True)
    assert seen.page.title()
    drawings = [one for one in seen.page.evaluate(DRAWINGS) if one[1] > 0]
    assert drawings
    assert min(count for count, _ in drawings) > 5
    assert seen.overflow() <= 0
    # The file is all there is.
    assert [url for url in seen.asked if not url.startswith(("data:", "blob:"))] == [pages[name].as_uri()]
    assert seen.wrong == []


@pytest.mark.parametrize("name", ["report", "affect", "compare"])
@pytest.mark.parametrize("seen", list(SIZES), indirect=True)
def test_a_page_can_be_read(name: str, seen: Seen, pages: dict[str, Path], request: pytest.FixtureRequest) -> None:
    seen.open(pages[name])
    seen.page.wait_for_load_state("load")
    # What is folded is read too.
    seen.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert seen.small(DRAWN[request.node.callspec.params["seen"]]) == []


@pytest.mark.parametrize("seen", ["wide"], indirect=True)
def test_the_eye_of_these_tests_sees_what_is_wrong(seen: Seen, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><title>x</title><body><p style='font-size:8px'>tiny</p><div style='width:3000px'>wide</div>"
        "<svg width='100' viewBox='0 0 1000 100'><text y='50' font-size='20'>shrunk</text></svg><canvas id='c'></canvas>"
        "<img src='http://127.0.0.1:9/none.png'><script>console.error('told'); throw new Error('thrown')</script>",
        encoding="utf-8",
    )
    seen.open(bad)
    seen.page.wait_for_load_state("load")
    assert seen.overflow() > 1000
    assert [word.split()[0] for word in seen.small()] == ["tiny", "shrunk"]
    assert seen.colours("c") == 1
    told = " ".join(seen.wrong)
    assert "told" in told
    assert "thrown" in told
    assert "failed: http://127.0.0.1:9/none.png" in told
    seen.asked.append("https://example.org/x.js")
    assert seen.outside() == ["https://example.org/x.js"]
