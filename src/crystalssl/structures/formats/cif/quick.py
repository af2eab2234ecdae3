"""CIF text of the kind that databases write by the million to its tags, by its words alone.

One block of values and short loops, the atom list at its end, no text fields and no comments but in
the first lines: then blanks part all words, and splitting costs a third of parsing and walking a
document. Anything else is left to gemmi. Called by ``reading.py`` first.
"""

from __future__ import annotations

from typing import NamedTuple

from crystalssl.structures.formats.cif.tags import Tags, gathered

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 \t\r\n.+-"
_HEAD = _LETTERS + b"_'(),/:*=<>!~%?@^{}|&"
_ROWS = _LETTERS + b"()?"
_RESERVED = ("_", "loop_", "data_", "save_", "stop_", "global_")
_LONGEST_QUOTE = 60


class WordLoop(NamedTuple):
    """A loop as gemmi gives it: its tags, all values row after row, and the number of rows."""

    tags: list[str]
    values: list[str]
    rows: int

    def length(self) -> int:
        """Number of rows."""
        return self.rows


def quick_tags(data: bytes) -> Tags | None:
    """Tags of the only block of a plain text; None where the text is not of this kind."""
    while data.startswith(b"#"):
        data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
    start = data.rfind(b"\nloop_") + 1
    if not start:
        return None
    try:
        head, words = data[:start].decode(), data[start:].decode().split()
    except UnicodeDecodeError:
        return None
    width = 1
    while width < len(words) and words[width][0] == "_":
        width += 1
    values = words[width:]
    columns = words[1:width]
    if (
        words[0] != "loop_"
        or "_" in columns
        or not columns
        or not values
        or len(values) % len(columns)
    ):
        return None
    # the rows begin behind the last tag; nothing in them may need a parser
    rows = data.find(columns[-1].encode(), start) + len(columns[-1])
    if data[:rows].translate(None, _HEAD) or data[rows:].translate(None, _ROWS):
        return None
    items = _items(head)
    if items is None:
        return None
    items.append(WordLoop(columns, values, len(values) // len(columns)))
    return gathered(items)


def _items(text: str) -> list[tuple[str, str] | WordLoop] | None:
    """Pairs and loops of a text before its last loop; None where they are of another kind."""
    words = text.split()
    if not words or not words[0].startswith("data_"):
        return None
    items: list[tuple[str, str] | WordLoop] = []
    at, last = 1, len(words)
    while at < last:
        word = words[at]
        if word[0] == "_" and len(word) > 1 and at + 1 < last:
            value, at = _value(words, at + 1, text)
            if not value:
                return None
            items.append((word, value))
        elif word == "loop_":
            stop = at + 1
            while stop < last and words[stop][0] == "_":
                stop += 1
            columns, values, at = words[at + 1 : stop], [], stop
            while at < last and words[at][0] != "_" and words[at] != "loop_":
                value, at = _value(words, at, text)
                if not value:
                    return None
                values.append(value)
            if "_" in columns or not columns or not values or len(values) % len(columns):
                return None
            items.append(WordLoop(columns, values, len(values) // len(columns)))
        else:
            return None
    return items


def _value(words: list[str], at: int, text: str) -> tuple[str, int]:
    """The value that begins with a word, and the place behind it; empty where it is unusual."""
    word = words[at]
    if word[0] != "'":
        unusual = word[0] == "_" or word.lower().startswith(_RESERVED)
        return ("" if unusual else word), at + 1
    stop = at
    while stop < len(words) and (words[stop][-1] != "'" or (stop == at and len(word) == 1)):
        stop += 1
    if stop == len(words):
        return "", at
    value = word if stop == at else " ".join(words[at : stop + 1])
    plain = value.count("'") == 2 and len(value) <= _LONGEST_QUOTE and value in text
    return (value if plain else ""), stop + 1
