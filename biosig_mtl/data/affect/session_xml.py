"""The attributes of a small XML file, read without anything that XML could make the reader do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

from biosig_mtl.data.readers.files import check_file
from biosig_mtl.types import DataError

_MOST_BYTES = 1 << 20


def read_elements(path: Path) -> list[tuple[str, Mapping[str, str]]]:
    """Return every element of an XML file as (name, attributes), in file order.

    A document type is refused, and with it every entity: entities can make a short text fill the memory, or name other files.

    Raises
    ------
    DataError
        No XML, a document type, more than 1 MB.
    """
    if check_file(path) > _MOST_BYTES:
        raise DataError(f"{path}: has more than 1 MB, far more than the description of a session")
    found: list[tuple[str, Mapping[str, str]]] = []

    def refuse(*_: object) -> None:
        raise DataError(f"{path}: declares a document type or entities: refused")

    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: found.append((name, attributes))
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        with path.open("rb") as stream:
            parser.ParseFile(stream)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"{path}: not readable as XML: {str(error)[:100]}") from error
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error
    return found
