"""Laws of what onlookers are told: all the same, who comes back neither twice nor with a hole, who does not read is let go."""

from __future__ import annotations

import json
import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.live.hub import KEEP, Hub, Message, Onlooker, plain


def taken(one: Onlooker) -> list[Message]:
    return one.take(0) or []


def id_of(message: Message) -> str:
    return message.text.decode().partition("\n")[0].removeprefix("id: ")


def content(message: Message) -> dict[str, object]:
    line = message.text.decode().split("\n")[2]
    made: dict[str, object] = json.loads(line.removeprefix("data: "))
    return made


@given(st.lists(st.sampled_from(["trace", "estimate", "status"]), max_size=60), st.data())
def test_who_comes_back_misses_nothing_and_sees_nothing_twice(kinds: list[str], data: st.DataObject) -> None:
    hub = Hub({"trace": 8, "estimate": 20})
    steady, coming = hub.join(), hub.join()
    seen_steady: list[tuple[int, str]] = []
    seen: list[tuple[int, str]] = []
    last: str | None = None
    for kind in kinds:
        hub.publish(kind, {"n": 1})
        seen_steady += [(m.number, m.kind) for m in taken(steady)]
        if data.draw(st.booleans()):
            for m in taken(coming):
                seen = [] if m.kind == "reset" else [*seen, (m.number, m.kind)]
                last = id_of(m)
        if data.draw(st.booleans()):
            hub.leave(coming)
            coming = hub.join(last)
    for m in taken(coming):
        seen = [] if m.kind == "reset" else [*seen, (m.number, m.kind)]
    numbers = [n for n, _ in seen]
    assert numbers == sorted(set(numbers))
    # Of what is kept there is no hole: what was seen is the end of what there was, or since the last new beginning.
    kept = [one for one in seen_steady if one[1] in KEEP]
    assert [one for one in seen if one[1] in KEEP] == kept[len(kept) - len([1 for one in seen if one[1] in KEEP]) :]
    # Of a state the last word is known.
    states = [n for n, kind in seen_steady if kind == "status"]
    assert not states or states[-1] in numbers


def test_all_are_told_the_same_in_the_same_order() -> None:
    hub = Hub()
    first, second = hub.join(), hub.join()

    def tell(k: int) -> None:
        for n in range(40):
            hub.publish("event", {"n": n, "k": k})

    writers = [threading.Thread(target=tell, args=(k,)) for k in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    one, two = taken(first), taken(second)
    assert len(one) == 160
    assert [m.text for m in one] == [m.text for m in two]
    assert [m.number for m in one] == list(range(1, 161))
    assert hub.onlookers == 2


def test_who_comes_late_is_told_what_is_held_and_of_a_state_only_the_last() -> None:
    hub = Hub({"event": 3})
    for n in range(5):
        hub.publish("event", {"n": n})
        hub.publish("status", {"n": n})
    told = taken(hub.join())
    assert [(m.kind, content(m)["n"]) for m in told] == [
        ("event", 2),
        ("event", 3),
        ("event", 4),
        ("status", 4),
    ]


def test_a_hole_that_cannot_be_filled_is_a_new_beginning() -> None:
    hub = Hub({"event": 2})
    one = hub.join()
    hub.publish("event", {"n": 0})
    last = id_of(taken(one)[0])
    for n in range(1, 5):
        hub.publish("event", {"n": n})
    told = taken(hub.join(last))
    assert [m.kind for m in told] == ["reset", "event", "event"]
    assert [content(m).get("n") for m in told[1:]] == [3, 4]
    # One who was told so and comes back with that id is not told again.
    assert [m.kind for m in taken(hub.join(id_of(told[0])))] == ["event", "event"]


@pytest.mark.parametrize(
    "wrong", ["deadbeef-3", "nonsense", "-", "0x1", "٣", "{token}-99", "{token}-", "{token}-1e3", "{token}-" + "9" * 40]
)
def test_an_id_that_was_never_given_is_a_new_beginning(wrong: str) -> None:
    hub = Hub()
    one = hub.join()
    hub.publish("event", {})
    token = id_of(taken(one)[0]).partition("-")[0]
    assert [m.kind for m in taken(hub.join(wrong.format(token=token)))] == ["reset", "event"]


def test_who_does_not_read_is_dropped_and_memory_does_not_grow() -> None:
    hub = Hub({"trace": 4}, backlog=10)
    slow, quick = hub.join(), hub.join()
    for n in range(100):
        hub.publish("trace", {"n": n})
        assert len(slow.queue) <= 14
        assert len(taken(quick)) == 1
    assert slow.dropped
    assert slow.take(0) is None
    assert not quick.dropped


def test_the_end_comes_after_what_was_told() -> None:
    hub = Hub()
    one = hub.join()
    hub.publish("event", {})
    hub.close()
    assert [m.kind for m in taken(one)] == ["event"]
    assert one.take(0) is None
    hub.publish("event", {})
    late = hub.join()
    assert [m.kind for m in taken(late)] == ["event"]
    assert late.take(0) is None


def test_silence_is_no_end() -> None:
    assert Hub().join().take(0.001) == []


def test_numbers_that_json_does_not_know_become_null() -> None:
    told = plain({"a": math.nan, "b": [math.inf, 1.5], "c": np.array([1.0, np.nan]), 3: ("x", None), "d": np.float32(2.0)})
    assert told == {"a": None, "b": [None, 1.5], "c": [1.0, None], "3": ["x", None], "d": 2.0}
    hub = Hub()
    one = hub.join()
    hub.publish("event", {"says": "a\nb\r\nid: 7", "v": math.nan})
    # Whatever is told stays one line of data: nobody can write a message of their own into it.
    assert taken(one)[0].text.count(b"\n") == 4


@pytest.mark.parametrize(("keep", "backlog"), [({"trace": 0}, 5), ({}, 0)])
def test_nonsense_is_refused(keep: dict[str, int], backlog: int) -> None:
    with pytest.raises(ValueError, match="need keep >= 1"):
        Hub(keep, backlog)
