"""How a message shows what stood where it should not: by its shape, since it may be a name, a date or a number of a hospital.

Messages end up in logs, in the list of what a store refused, and in reports. A line number and a shape are enough to find the
place in the file.
"""

from __future__ import annotations

import re

_SHOWN = 4  # characters that are too few to tell who it is
_MOST = 40
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def shape(text: str) -> str:
    """Return up to four characters as they are; of longer text letters become ``x`` and digits ``9``, cut at 40.

    >>> shape("loud"), shape("Smith 14.03.1987")
    ('loud', 'xxxxx 99.99.9999')
    """
    word = " ".join(text.split())
    if len(word) <= _SHOWN:
        return word
    return "".join("x" if c.isalpha() else "9" if c.isdigit() else c for c in word[:_MOST])


def shaped(message: str) -> str:
    """Return the message of a library with everything that it quotes by its shape.

    >>> shaped("could not convert string to float: 'Jane Smith'")
    "could not convert string to float: 'xxxx xxxxx'"
    """
    return _QUOTED.sub(lambda found: f"{found[0][0]}{shape(found[0][1:-1])}{found[0][-1]}", message)
