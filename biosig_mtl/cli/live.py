"""The verb `live`: estimates while a recording is being made."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from biosig_mtl.cli import words
from biosig_mtl.cli.shell import ChannelOption, PersonalOption, PersonOption, TimingOption
from biosig_mtl.types import DataError, RecipeError

if TYPE_CHECKING:
    from biosig_mtl.inference import Predictor, Told
    from biosig_mtl.live import About, LiveSource

# A settled window waits for its context; in a hurry the work is done in larger lots, which is cheaper.
HURRY_HOP_S = 120.0


@dataclass(frozen=True)
class _Wish:
    """What was asked for, read but not looked up."""

    run: Path
    recording: str
    speed: float
    rounds: int
    names: Mapping[str, tuple[str, ...]]
    fs_hz: float | None
    networks: int | None
    settle_s: float | None
    onnx: Path | None


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(live)


def live(  # noqa: PLR0913 (the options of a verb are its arguments)
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    recording: Annotated[
        str,
        typer.Argument(help="A recording in any readable format, - for standard input, lsl:NAME for a stream on the network."),
    ] = "-",
    out: Annotated[Path | None, typer.Option("--out", help="CSV to which every estimate is added as it comes.")] = None,
    page: Annotated[int | None, typer.Option("--page", help="Show a web page at this port (0: any free one).")] = None,
    host: Annotated[str, typer.Option(help="Address of the page. The default is seen by this machine only.")] = "127.0.0.1",
    speed: Annotated[str, typer.Option(help="Of a file: 1, 10 … times as fast as it was recorded, or max.")] = "1",
    rounds: Annotated[int, typer.Option(min=0, help="How often a file is told; 0: again and again.")] = 1,
    fs_hz: Annotated[float | None, typer.Option("--fs", help="Rate of CSV rows without time stamps, in Hz.")] = None,
    channel: ChannelOption = None,
    person: PersonOption = None,
    personal: PersonalOption = None,
    settle: Annotated[
        float | None,
        typer.Option(help="Call an estimate settled so many seconds after its window. Default: when it is certain."),
    ] = None,
    networks: Annotated[
        int | None, typer.Option(min=1, help="Use only so many networks: sooner, and not quite the same estimates.")
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="What `export` has written of this run: answers in place of its networks.")
    ] = None,
    rest: Annotated[str | None, typer.Option("--rest", help="START:STOP of the rest before the stimulus, in seconds.")] = None,
    *,
    provisional: Annotated[
        bool | None, typer.Option(help="Also tell estimates from the last seconds. Default: unless as fast as possible.")
    ] = None,
    timing_reliable: TimingOption = False,
    plain: Annotated[bool, typer.Option("--plain", help="Rows of CSV on standard output, also on a terminal.")] = False,
    stay: Annotated[
        bool | None, typer.Option(help="Keep the page when the recording has ended. Default: on a terminal.")
    ] = None,
) -> None:
    """Estimate while a recording is being made: from a file, standard input or LSL. Research use only."""
    from biosig_mtl import inference
    from biosig_mtl.cli.live_views import views

    wish = _Wish(run, recording, _speed(speed), rounds, words.channels(channel), fs_hz, networks, settle, onnx)
    told = inference.Told(wish.names, words.facts(person), timing_reliable=timing_reliable, rest_s=words.span(rest))
    for word in told.demographics:
        _choose(word, inference.files.PERSON, "fact about the person (--person)")
    if personal is not None and (onnx is not None or networks is not None):
        raise RecipeError("--personal: all networks of the run answer for one person; leave out --onnx and --networks")
    with ExitStack() as held:
        predictor = _predictor(run, personal)
        for word in wish.names:
            _choose(word, predictor.channels, "channel of this run (--channel)")
        source = _source(wish, predictor)
        held.callback(source.close)
        twice = wish.speed < float("inf") if provisional is None else provisional
        stream = _stream(predictor, source, told, wish, twice=twice)
        about = _about(wish, predictor, source, stream, twice=twice)
        seen = held.enter_context(views(about, out, page, host, plain=plain))
        held.enter_context(_terminated())
        result = _watch(source, stream, seen, about)
        if seen.page is not None and (sys.stdout.isatty() if stay is None else stay) and not result.stopped:
            _stay(seen.page.url)
    if not result.windows.get("settled"):
        why = "; ".join(sorted(result.reasons)) or "nothing, or too little, has arrived"
        raise DataError(f"{recording}: no usable window ({why})")


def _watch(source: LiveSource, stream: Any, seen: Any, about: About) -> Any:
    from biosig_mtl.live import Watch

    return Watch(source, stream, seen.viewers, about.speed).run(about)


def _stay(url: str) -> None:
    import time

    sys.stderr.write(f"the page stays at {url} until Ctrl-C\n")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return


@contextmanager
def _terminated() -> Iterator[None]:
    """Let a polite kill end the view as Ctrl-C does: with the last estimates written."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _predictor(run: Path, personal: Path | None) -> Predictor:
    from biosig_mtl import inference

    if personal is None:
        return inference.Predictor.load(run)
    from biosig_mtl.inference import personal as persons

    # The recording is of another time than the readings: how long after is not known.
    return persons.load(run, personal).as_predictor()


def _source(wish: _Wish, predictor: Predictor) -> LiveSource:
    from biosig_mtl import live as rooms
    from biosig_mtl.data.readers import entry_for, open_source

    only = predictor.channels
    if wish.recording == "-":
        if sys.stdin.isatty():
            raise RecipeError("-: standard input is the keyboard; pipe CSV or JSON lines into it, or name a recording")
        # Of what it promises too little is known to the type checker: it has `read1`.
        pipe: Any = sys.stdin.buffer
        return rooms.LineSource(pipe, _made(rooms.LineSettings, wish.names, only, wish.fs_hz))
    if wish.recording.startswith("lsl:"):
        return rooms.LslSource(_made(rooms.LslSettings, wish.recording.removeprefix("lsl:"), wish.names, only))
    options = {} if wish.fs_hz is None else {"fs_hz": wish.fs_hz}
    entry = entry_for(Path(wish.recording), wish.names, options)
    pace = _made(rooms.Pace, wish.speed, wish.rounds)
    return rooms.ReplaySource(open_source(entry), only, pace)


def _stream(predictor: Predictor, source: LiveSource, told: Told, wish: _Wish, *, twice: bool) -> Any:
    from biosig_mtl.inference.stream import Stream
    from biosig_mtl.inference.stream_words import StreamSettings

    settings = StreamSettings(networks=wish.networks)
    if wish.settle_s is not None:
        # Who wants it soon does not want to wait for the next round of work.
        settings = _made(replace, settings, settle_s=wish.settle_s, hop_s=min(settings.hop_s, max(wish.settle_s, 1.0)))
    if not twice:
        settings = replace(settings, context_s=0.0)
    if wish.speed == float("inf"):
        settings = replace(settings, hop_s=HURRY_HOP_S)
    return Stream(predictor, source.channels, settings, told, _answers(wish.onnx))


def _answers(onnx: Path | None) -> Any:
    if onnx is None:
        return None
    from biosig_mtl.export.runtime import Exported

    return Exported.load(onnx)


def _about(wish: _Wish, predictor: Predictor, source: LiveSource, stream: Any, *, twice: bool) -> About:
    from biosig_mtl.live import About

    heads = zip(predictor.targets, predictor.ensemble.spec.head, strict=True)
    return About(
        run=wish.run.resolve().name,
        task=predictor.preparation.task.name,
        targets=tuple(predictor.targets),
        units=dict(stream.units),
        classes={name: tuple(head.names()) for name, head in heads if head.classes},
        channels=dict(source.channels),
        # What is being made arrives as fast as it is made.
        speed=wish.speed if wish.recording != "-" and not wish.recording.startswith("lsl:") else 1.0,
        provisional=twice,
        settled_after_s=stream.settled_after_s,
    )


# ------------------------------------------------------------------------------------------------------------------ words
def _speed(word: str) -> float:
    if word == "max":
        return float("inf")
    try:
        speed = float(word.removesuffix("x"))
    except ValueError:
        raise RecipeError(f"--speed {word}: write a number, or max") from None
    if not 0 < speed < float("inf"):
        raise RecipeError(f"--speed {word}: need a speed above 0, or max")
    return speed


def _choose(word: str, words: Any, what: str) -> None:
    from biosig_mtl.recipe import choose

    choose(word, words, what)


def _made(settings: Callable[..., Any], *words: Any, **named: Any) -> Any:
    try:
        return settings(*words, **named)
    except ValueError as error:
        raise RecipeError(str(error)) from error
