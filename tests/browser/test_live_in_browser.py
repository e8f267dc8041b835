"""The live page in a real browser, fed by a replayed recording: it draws, it fits, it pauses, it comes back."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.inference.stream_words import Estimate, Event
from biosig_mtl.live import About, Hub, Pace, Page, ReplaySource, Watch
from biosig_mtl.live.viewers import HubViewer
from biosig_mtl.live.watching import Status
from tests.browser.seen_page import NARROW, WIDE, Seen
from tests.live.fake_stream import FakeStream

SPEED = 8.0


class Show:
    """A recording on its way to a page."""

    def __init__(self, recording: Path, *, rounds: int = 0, port: int = 0) -> None:
        self.hub = Hub()
        self.page = Page(self.hub, port)
        self.source = ReplaySource(open_source(entry_for(recording)), ("ppg", "ecg"), Pace(SPEED, rounds))
        self.stream = FakeStream(self.source.channels)
        self.stream.pending.append(Event("gap", 1.0, "0.5 s of samples are missing <b>&amp;</b>", "ppg", 0.5))
        about = About(
            "demo",
            "blood_pressure",
            ("sbp", "dbp"),
            {"sbp": "mmHg", "dbp": "mmHg"},
            {},
            self.source.channels,
            SPEED,
            settled_after_s=8.0,
        )
        watch = Watch(self.source, self.stream, [HubViewer(self.hub)], SPEED)
        self.thread = threading.Thread(target=watch.run, args=(about,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.source.close()
        self.thread.join(10)
        self.page.close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(Cohort(n_subjects=1, records_per_subject=1, record_s=40, fault_share=0), tmp_path_factory.mktemp("d") / "c")
    return root / "s001" / "s001_1.hea"


@pytest.fixture
def show(recording: Path) -> Iterator[Show]:
    made = Show(recording)
    yield made
    made.close()


@pytest.fixture
def seen(browser: Any, request: pytest.FixtureRequest) -> Iterator[Seen]:
    made = Seen(browser, **getattr(request, "param", {}))
    yield made
    made.close()


def number(seen: Seen) -> float:
    return float(re.findall(r"\d+", seen.page.locator("#value-target-sbp").inner_text())[0])


def settled(seen: Seen) -> None:
    seen.until("document.querySelectorAll('#rows .tag.good').length >= 2", 20)


@pytest.mark.parametrize("seen", [{"size": WIDE}, {"size": NARROW, "color_scheme": "dark"}], indirect=True)
def test_it_draws_and_fits(show: Show, seen: Seen, tmp_path: Path) -> None:
    seen.open(show.page.url)
    settled(seen)
    page = seen.page
    assert 60 < number(seen) < 200
    assert "mmHg" in page.locator("#cards").inner_text()
    assert "90 % interval" in page.locator("#cards").inner_text()
    assert page.locator("#cards .tag").first.inner_text() in {"provisional", "settled"}
    assert "Research use only".upper() in page.locator(".stamp").inner_text().upper()
    assert page.locator("#rows tr").count() == 8 or page.locator("#rows tr").count() >= 3
    assert {"settled", "provisional"} <= set(page.locator("#rows .tag").all_inner_texts())
    # What others wrote is text and nothing else.
    assert "<b>&amp;</b>" in page.locator("#events").inner_text()
    assert seen.colours("trace") > 5
    assert seen.colours("chart") > 5
    assert seen.overflow() <= 0
    assert seen.small() == []
    # The recording and who was recorded have no place on the page.
    assert "s001" not in page.content()
    assert seen.wrong == []
    assert seen.outside() == []
    page.screenshot(path=str(tmp_path / "live.png"), full_page=True)


def test_the_trace_moves_and_stands_still_when_paused(show: Show, seen: Seen) -> None:
    seen.open(show.page.url)
    settled(seen)
    page = seen.page
    shot = "document.getElementById('trace').toDataURL()"
    before = page.evaluate(shot)
    seen.until(f"{shot} !== {before!r}", 5)
    page.keyboard.press("p")
    assert page.locator("#pause").get_attribute("aria-pressed") == "true"
    assert page.locator("#state").inner_text() == "paused"
    page.wait_for_timeout(150)
    before = page.evaluate(shot)
    page.wait_for_timeout(600)
    assert page.evaluate(shot) == before
    # The button does the same, with the keyboard alone.
    page.locator("#pause").focus()
    page.keyboard.press("Enter")
    assert page.locator("#pause").get_attribute("aria-pressed") == "false"
    seen.until(f"{shot} !== {before!r}", 5)


@pytest.mark.parametrize("seen", [{"reduced_motion": "reduce"}], indirect=True)
def test_who_asked_for_calm_gets_steps(show: Show, seen: Seen) -> None:
    seen.open(show.page.url)
    settled(seen)
    seen.page.evaluate(
        "window.count = 0; window.was = ''; const look = () => { const now = document.getElementById('trace').toDataURL();"
        " if (now !== window.was) window.count++; window.was = now; }; setInterval(look, 50)"
    )
    seen.page.wait_for_timeout(2500)
    assert 1 <= seen.page.evaluate("window.count") <= 4


def test_two_see_the_same_and_one_who_comes_late_sees_what_was(show: Show, seen: Seen, browser: Any) -> None:
    seen.open(show.page.url)
    settled(seen)
    late = Seen(browser)
    late.open(show.page.url)
    settled(late)
    words = (
        "Object.fromEntries([...document.querySelectorAll('#rows tr')]"
        ".map((r) => [r.cells[0].innerText, r.cells[1].innerText + r.cells[4].innerText]))"
    )
    show.source.close()
    show.thread.join(10)
    for one in (seen, late):
        one.until("document.getElementById('state').innerText === 'ended'", 10)
    seen.page.wait_for_timeout(300)
    assert seen.page.evaluate(words) == late.page.evaluate(words)
    assert "The page stays as it is" in seen.page.locator("#banner").inner_text()
    assert seen.wrong == late.wrong == []
    late.close()


def test_a_program_that_starts_anew_is_found_again(recording: Path, seen: Seen) -> None:
    first = Show(recording)
    seen.open(first.page.url)
    settled(seen)
    port = first.page.port
    first.hub.publish = lambda *_: None  # type: ignore[method-assign]  # it dies without a word
    first.close()
    seen.until("document.getElementById('state').innerText === 'reconnecting'", 10)
    assert "what is shown is old" in seen.page.locator("#banner").inner_text()
    assert seen.page.locator(".card.old").count() >= 1
    again = Show(recording, port=port)
    seen.until("document.getElementById('state').innerText === 'running'", 15)
    settled(seen)
    assert seen.page.evaluate("[...document.querySelectorAll('#rows tr')].length") >= 2
    again.close()


def test_classes_refusals_and_silence_have_their_look(seen: Seen, tmp_path: Path) -> None:
    hub = Hub()
    page, viewer = Page(hub), HubViewer(hub)
    viewer.begin(About("demo", "affect", ("valence", "stress"), {}, {"valence": ("low", "high")}, {}))
    for k in range(4):
        values: dict[str, float | str] = {"valence": "high", "stress": 0.25 * k}
        viewer.estimate("r", Estimate(8.0 * k, 8.0 * k + 8, values=values, shares={"valence": (0.3, 0.7)}, sqi=0.3))
    viewer.estimate("r", Estimate(32.0, 40.0, reason="low quality"))
    viewer.status(Status(40.0, "running", {"settled": 5}, silent_s=9.0))
    seen.open(page.url)
    seen.until("document.querySelectorAll('#rows tr').length === 5")
    seen.until("document.getElementById('state').innerText === 'silent'")
    cards = seen.page.locator("#cards").inner_text()
    for words in ("high", "share 70 %", "no interval", "window at 0:32 refused: low quality", "no beats found yet"):
        assert words in cards, words
    assert "No signal has arrived for 9 s" in seen.page.locator("#banner").inner_text()
    assert "low quality" in seen.page.locator("#rows").inner_text()
    seen.page.wait_for_timeout(200)
    assert seen.colours("chart") > 5
    seen.page.mouse.move(*_middle(seen))
    assert "valence" in seen.page.locator("#hover").inner_text().lower()
    assert seen.overflow() <= 0
    assert seen.wrong == []
    seen.page.screenshot(path=str(tmp_path / "classes.png"), full_page=True)
    page.close()


def _middle(seen: Seen) -> tuple[float, float]:
    seen.page.locator("#chart").scroll_into_view_if_needed()
    box = seen.page.locator("#chart").bounding_box()
    return box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2


def test_it_stays_fluent_and_small_however_long_it_runs(seen: Seen) -> None:
    hub = Hub()
    page, viewer = Page(hub), HubViewer(hub)
    viewer.begin(About("demo", "blood_pressure", ("sbp",), {"sbp": "mmHg"}, {}, {}))
    seen.open(page.url)
    for k in range(3000):
        viewer.estimate(
            "r", Estimate(8.0 * k, 8.0 * k + 8, values={"sbp": 120.0}, lower={"sbp": 110.0}, upper={"sbp": 130.0}, sqi=1.0)
        )
        viewer.event(Event("gap", 8.0 * k, "lost"))
        if k % 100 == 0:
            time.sleep(0.02)
    viewer.status(Status(24000.0, "running"))
    seen.until("document.getElementById('rows').innerText.includes('6:39:52')", 20)
    assert seen.page.locator("#events li").count() <= 60
    assert seen.page.locator("#rows tr").count() == 8
    assert seen.wrong == []
    page.close()
