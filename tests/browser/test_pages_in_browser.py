"""The pages that are files, in a real browser: nothing fails, nothing is asked of others, all of it fits and can be read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from biosig_mtl import looking, report, report_card, report_compare
from biosig_mtl.cli import calibrate as verb
from biosig_mtl.data.readers import entry_for
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.lifecycle import calibrate as calibrating
from biosig_mtl.looking_browse import browse
from tests import report_affect_run
from tests.browser.seen_page import LEAST_PX, NARROW, WIDE, Seen
from tests.lifecycle.calibrate_case import moving_table, opened_run, run_folder
from tests.test_report import write_run

SIZES = {"wide": WIDE, "narrow": NARROW}
# On a phone a drawing keeps a least width and is pushed aside with a finger: its text is as large as any other.
DRAWN = {"wide": LEAST_PX, "narrow": LEAST_PX}

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


def calibrated(root: Path) -> Path:
    """Return the page of a personal calibration of people whose pressures move."""
    run = run_folder(root / "run")
    (root / "store").mkdir()
    opened = opened_run(moving_table(people=24, per=8))
    app = typer.Typer()
    verb.register(app)
    words = [str(run), "--out", str(root / "out"), "--k", "1,2", "--method", "offset", "--draws", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrating, "open_run", lambda *_: opened)
        typer.main.get_command(app).main(words, standalone_mode=False)
    return root / "out" / "calibration.html"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    cohort = write(Cohort(n_subjects=1, records_per_subject=1, record_s=40, fault_share=0), root / "c")
    recording = next(cohort.rglob("*.hea"))
    seen = looking.view(entry_for(recording))
    (root / "contest").mkdir()
    pressure = write_run(root / "pressure")
    return {
        "report": report.render(pressure),
        "affect": report.render(report_affect_run.write_run(root / "stress", "stress")),
        "compare": report_compare.write(contest(), root / "contest").with_suffix(".html"),
        "look": looking.write(seen, root / "look.html"),
        "calibration": calibrated(root / "calibrated"),
        "card": report_card.write(pressure, root / "card.html"),
        "browse": browse(recording).write(root / "browse.html"),
    }


@pytest.fixture
def seen(browser: Any, request: pytest.FixtureRequest) -> Iterator[Seen]:
    made = Seen(browser, SIZES[request.param])
    yield made
    made.close()


# Tables that nobody sees: a page may leave out columns on a phone, never a table.
HIDDEN = "[...document.querySelectorAll('table')].filter((table) => !table.checkVisibility()).length"
DRAWN_ON = ("report", "affect", "compare", "look", "calibration")


@pytest.mark.parametrize("name", [*DRAWN_ON, "card", "browse"])
@pytest.mark.parametrize("seen", list(SIZES), indirect=True)
def test_a_page_is_whole_and_can_be_read(
    name: str, seen: Seen, pages: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seen.open(pages[name])
    seen.page.wait_for_load_state("load")
    assert seen.page.title()
    drawings = [one for one in seen.page.evaluate(DRAWINGS) if one[1] > 0]
    assert bool(drawings) == (name in DRAWN_ON)
    assert min((count for count, _ in drawings), default=6) > 5
    assert seen.overflow() <= 0
    # What is folded is read too; the picture of a recording alone is drawn for a desk.
    seen.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert seen.overflow() <= 0
    assert seen.page.evaluate(HIDDEN) == 0
    if name != "look":
        assert seen.small(DRAWN[request.node.callspec.params["seen"]]) == []
    seen.page.screenshot(path=str(tmp_path / f"{name}.png"), full_page=True)
    # The file is all there is.
    assert [url for url in seen.asked if not url.startswith(("data:", "blob:"))] == [pages[name].as_uri()]
    assert seen.wrong == []


class Browsed:
    """The page to pan and zoom: where it is, in seconds, and what is done with it."""

    def __init__(self, seen: Seen, path: Path) -> None:
        seen.open(path)
        self.seen, self.page = seen, seen.page

    def where(self) -> tuple[float, float, float]:
        """Return begin and end of what is shown, and the length, once the page has drawn what was asked."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        first, last, whole = map(float, re.findall(r"[\d.]+", self.page.locator("#where").inner_text()))
        return first, last, whole

    def width(self) -> float:
        first, last, _ = self.where()
        return last - first

    def at(self, canvas: str, share: float) -> tuple[float, float]:
        box = self.page.locator(f"#{canvas}").bounding_box()
        return box["x"] + 8 + share * (box["width"] - 16), box["y"] + min(box["height"] / 2, 60)

    def picture(self) -> str:
        shot: str = self.page.evaluate("document.getElementById('main').toDataURL()")
        return shot


@pytest.fixture
def browsed(seen: Seen, pages: dict[str, Path]) -> Browsed:
    return Browsed(seen, pages["browse"])


@pytest.mark.parametrize("seen", list(SIZES), indirect=True)
def test_the_wheel_zooms_about_the_pointer(browsed: Browsed) -> None:
    assert browsed.seen.colours("main") > 20
    assert browsed.seen.colours("whole") > 5
    before, picture = browsed.where(), browsed.picture()
    assert before == (0.0, 20.0, 40.0)
    browsed.page.mouse.move(*browsed.at("main", 0.25))
    browsed.page.mouse.wheel(0, -300)
    first, last, _ = browsed.where()
    assert last - first == pytest.approx(20 * math.exp(-0.6), abs=0.21)
    # What was under the pointer stays there.
    assert first + 0.25 * (last - first) == pytest.approx(5.0, abs=0.21)
    assert browsed.picture() != picture
    browsed.page.mouse.wheel(0, 3000)
    assert browsed.where() == (0.0, 40.0, 40.0)
    assert browsed.seen.wrong == []


@pytest.mark.parametrize("seen", list(SIZES), indirect=True)
def test_a_drag_moves_the_signal_with_the_hand(browsed: Browsed) -> None:
    browsed.page.mouse.move(*browsed.at("main", 0.75))
    browsed.page.mouse.down()
    browsed.page.mouse.move(*browsed.at("main", 0.25), steps=4)
    browsed.page.mouse.up()
    assert browsed.where()[:2] == pytest.approx((10.0, 30.0), abs=0.21)
    # Let go, the pointer moves alone; and at the ends there is nothing more to drag.
    browsed.page.mouse.move(*browsed.at("main", 0.9))
    assert browsed.where()[:2] == pytest.approx((10.0, 30.0), abs=0.21)
    browsed.page.mouse.down()
    browsed.page.mouse.move(*browsed.at("main", -3.0), steps=2)
    browsed.page.mouse.up()
    assert browsed.where()[:2] == (20.0, 40.0)
    assert browsed.seen.wrong == []


@pytest.mark.parametrize("seen", ["wide"], indirect=True)
def test_keys_and_buttons_move_it(browsed: Browsed) -> None:
    press = browsed.page.keyboard.press
    press("ArrowRight")
    assert browsed.where()[:2] == (5.0, 25.0)
    press("ArrowLeft")
    press("ArrowLeft")
    assert browsed.where()[:2] == (0.0, 20.0)
    press("+")
    assert browsed.where()[:2] == (5.0, 15.0)
    press("-")
    assert browsed.where()[:2] == (0.0, 20.0)
    press("0")
    assert browsed.where()[:2] == (0.0, 40.0)
    browsed.page.locator("#in").click()
    assert browsed.where()[:2] == (10.0, 30.0)
    # However often, some samples stay in sight.
    for _ in range(20):
        press("+")
    assert 0 < browsed.width() < 0.2
    assert browsed.seen.colours("main") > 5
    browsed.page.locator("#out").click()
    browsed.page.locator("#all").click()
    assert browsed.where()[:2] == (0.0, 40.0)
    assert browsed.seen.wrong == []


@pytest.mark.parametrize("seen", list(SIZES), indirect=True)
def test_a_click_on_the_whole_goes_there(browsed: Browsed) -> None:
    browsed.page.mouse.click(*browsed.at("whole", 0.5))
    assert browsed.where()[:2] == pytest.approx((10.0, 30.0), abs=0.21)
    browsed.page.mouse.click(*browsed.at("whole", 0.99))
    assert browsed.where()[:2] == (20.0, 40.0)
    # Held, it follows the hand.
    browsed.page.mouse.down()
    browsed.page.mouse.move(*browsed.at("whole", 0.0), steps=3)
    assert browsed.where()[:2] == (0.0, 20.0)
    browsed.page.mouse.up()
    assert browsed.seen.wrong == []


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
