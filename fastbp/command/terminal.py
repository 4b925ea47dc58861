"""Texts for the terminal: what could command a terminal is shown escaped.

It must not know what a text means.
"""

import re

# Control characters, lone surrogates, line separators, and characters that turn the direction of writing.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str, kept: str = "") -> str:
    """Return a text in which every character that commands a terminal is escaped.

    Parameters
    ----------
    text : str
    kept : str, default ""
        Characters that stay as they are, such as line ends.
    """
    return _COMMANDS.sub(lambda found: found[0] if found[0] in kept else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
