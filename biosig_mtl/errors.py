"""Errors that a user can act on; the other rooms know them through `biosig_mtl.types`."""

from __future__ import annotations

_LONGEST = 1500


class BiosigError(Exception):
    """An error that a user can act on: one line that says what, where and what to do."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Keep the message to one line that can be shown, whatever a library or a stranger's file put into it."""
        line = " ".join(str(message).split())
        # The end says what to do, so a message that names ten thousand columns is cut in its middle.
        line = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 400]} … {line[-390:]}"
        # What steers a terminal (colours, its title, the direction of writing) is shown without its power.
        super().__init__("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line))


class RecipeError(BiosigError):
    """Wrong words: a recipe, a manifest, a setting or a command that cannot be followed."""

    exit_code = 2


class DataError(BiosigError):
    """Data that cannot be used: the message names the file, channel or subject."""

    exit_code = 3


class AuditError(BiosigError):
    """A run whose numbers must not be believed."""

    exit_code = 4
