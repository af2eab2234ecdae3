"""Bytes to slightly wrong bytes, by a seeded random generator: the same seed, the same input."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

HOSTILE = (
    b"nan", b"inf", b"-1", b"0", b"1e308", b"-1e-308", b"1/3", b"?", b".", b"''", b"1e20",
    b"999999999", b"9" * 401, b"9" * 5000, b"\xff\xfe", b"\0", b"null", b"[[", b"{", b"x,y,z",
    b"-x,-y", b"T", b"X", b"Og", b"Q", b"_JSON {", b"data_", b"loop_", b"1.0 1.0 1.0", b"0.5(3)",
    b"1000000", b"=1+1",
)  # fmt: skip
"""What is put in the place of words and numbers."""
_WORD = re.compile(rb"[^\s,:\[\]{}\"']+")


def mutated(seed: int, inputs: Sequence[bytes], *, text: bool) -> bytes:
    """One input changed in one to six places."""
    rng = random.Random(seed)
    data = rng.choice(inputs)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        change = rng.choice(_TEXT if text else _BYTES)
        data = change(rng, data, inputs)
    return data[:2_000_000]


def _flip(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randrange(1, 40) :]


def _end(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _repeat(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data) + 1)
    stop = start + rng.randrange(1, 200)
    return data[:stop] + data[start:stop] * rng.choice((1, 2, 50)) + data[stop:]


def _splice(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    other = rng.choice(inputs)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _integer(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data) + 1)
    value = rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, rng.randrange(2**32)))
    return data[:start] + value.to_bytes(4, "little") + data[start + 4 :]


def _word(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    words = list(_WORD.finditer(data))
    if not words:
        return data
    match = rng.choice(words)
    return data[: match.start()] + rng.choice(HOSTILE) + data[match.end() :]


def _swap(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    words = list(_WORD.finditer(data))
    if len(words) < 2:
        return data
    one, other = sorted(rng.sample(words, 2), key=lambda match: match.start())
    middle = data[one.end() : other.start()]
    return data[: one.start()] + other.group() + middle + one.group() + data[other.end() :]


def _line(rng: random.Random, data: bytes, inputs: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    row = rng.randrange(len(lines))
    change = rng.randrange(4)
    if change == 0:
        del lines[row]
    elif change == 1:
        lines.insert(row, rng.choice(lines))
    elif change == 2:
        lines[row : row + 1] = [lines[row]] * rng.choice((2, 20, 2000))
    else:
        lines.insert(row, rng.choice(HOSTILE))
    return b"\n".join(lines)


_BYTES = (_flip, _flip, _cut, _end, _repeat, _splice, _integer, _integer)
_TEXT = (_word, _word, _word, _swap, _line, _line, _flip, _cut, _end, _repeat, _splice)
