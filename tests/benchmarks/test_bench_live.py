"""CPU of a stream: one window from its samples to its interval, many wearers on one core, a day as fast as it can be replayed.

The recordings are simulated and the networks untrained: what is measured is time and memory alone. `docs/live.md` tells what
was measured with a trained run.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.inference import Predictor
from biosig_mtl.inference.stream import Stream
from biosig_mtl.inference.stream_fleet import Fleet
from biosig_mtl.inference.stream_words import StreamSettings
from biosig_mtl.types import F32
from tests.live_stream_case import RATES, recording, samples, write_run

pytestmark = pytest.mark.benchmark
FS = 125
HOURS = 24


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(write_run(tmp_path_factory.mktemp("run"), networks=5))


def second(number: int, seed: int = 4) -> dict[str, F32]:
    """Return the samples of a second of a recording that repeats every seven minutes."""
    k = number % 420
    return dict(samples(recording(420, seed), k * FS, (k + 1) * FS))


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}")


def test_one_window_from_its_samples_to_its_interval(predictor: Predictor) -> None:
    stream = Stream(predictor, RATES, StreamSettings(settle_s=1e6))
    spent = []
    for k in range(900):
        part = second(k)
        began = time.thread_time()
        made = stream.push(part)
        if made and k > 100:
            spent.append(1000 * (time.thread_time() - began))
    p50, p99 = np.percentile(spent, [50, 99])
    say(f"provisional, one window by itself: p50 {p50:.1f} ms, p99 {p99:.1f} ms of CPU, {len(spent)} windows, 5 networks")


@pytest.mark.parametrize("hop_s", [8.0, 30.0, 120.0, 240.0])
def test_a_settled_window_costs_its_share_of_a_hop(predictor: Predictor, hop_s: float) -> None:
    stream = Stream(predictor, RATES, StreamSettings(hop_s=hop_s, context_s=0))
    found = 0
    for k in range(300):
        found += len(stream.push(second(k)))
    start = found

    began = time.thread_time()
    for k in range(300, 1500):
        found += len(stream.push(second(k)))
    spent = 1000 * (time.thread_time() - began)
    say(
        f"settled, a hop of {hop_s:g} s: {spent / (found - start):.2f} ms of CPU a window ({found - start} windows, 5 networks)"
    )


@pytest.mark.parametrize("quick", [True, False], ids=["with provisional estimates", "settled alone"])
def test_sixty_four_wearers_on_one_core(predictor: Predictor, quick: bool) -> None:
    fleet = Fleet(predictor, StreamSettings(context_s=30.0 if quick else 0.0))
    for number in range(64):
        fleet.add(f"w{number}", RATES)
    people = [recording(420, seed) for seed in range(4)]

    def push(k: int) -> None:
        at = (k % 420) * FS
        fleet.push({f"w{number}": samples(people[number % 4], at, at + FS) for number in range(64)})

    for k in range(280):
        push(k)
    began = time.thread_time()
    for k in range(280, 400):
        push(k)
    share = (time.thread_time() - began) / 120
    which = "with provisional estimates" if quick else "settled alone"
    say(f"64 wearers, {which}: {100 * share:.0f} % of one core in real time")
    assert share < 1


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read from /proc")
def test_a_day_replayed_in_bounded_memory(predictor: Predictor) -> None:
    stream = Stream(predictor, RATES, StreamSettings(hop_s=60, context_s=0))
    page_mb = resource.getpagesize() / 2**20
    after_mb: dict[int, float] = {}
    began = time.thread_time()
    for minute in range(HOURS * 60):
        k = (minute % 7) * 60 * FS
        stream.push(samples(recording(), k, k + 60 * FS))
        if (minute + 1) % 60 == 0:
            after_mb[(minute + 1) // 60] = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page_mb
    spent = time.thread_time() - began
    grown = after_mb[HOURS] / after_mb[1] - 1
    say(f"{HOURS} h replayed: {spent:.0f} s of CPU; {after_mb[1]:.0f} MB after an hour, {after_mb[HOURS]:.0f} MB after {HOURS}")
    assert stream.counts["settled"] > HOURS * 3600 / 8 - 60
    assert abs(grown) <= 0.05
