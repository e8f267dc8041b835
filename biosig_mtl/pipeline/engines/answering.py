"""What goes back over a wire: an answer that can always be read, and errors of ours as themselves."""

from __future__ import annotations

from typing import Any

from biosig_mtl.pipeline.engines.interface import Died, Done, Function, Outcome
from biosig_mtl.types import AuditError, BiosigError, DataError, RecipeError

_OURS: dict[str, type[BiosigError]] = {kind.__name__: kind for kind in (DataError, RecipeError, AuditError)}

Answer = tuple[str, Any]


def answer(function: Function, job: Any) -> Answer:
    """Call a function and put what came of it into plain words.

    Errors of libraries often cannot be made again from their pickled form, so they travel as text.
    """
    try:
        return "done", function(job)
    except MemoryError:
        return "memory", ""
    except Exception as error:  # noqa: BLE001 (it is raised again by the driver)
        name = next((kind.__name__ for kind in type(error).__mro__ if kind in _OURS.values()), type(error).__name__)
        return "error", (name, str(error) if name in _OURS else f"a worker met an unexpected {name}: {error}")


def outcome(given: Answer) -> Outcome:
    """Return what an answer means.

    Raises
    ------
    BiosigError
        The function raised it. What it raised that is no error of ours is a `DataError` which names the kind.
    """
    word, content = given
    if word == "done":
        return Done(content)
    if word == "memory":
        return Died("no memory left")
    name, text = content
    raise _OURS.get(name, DataError)(text)
