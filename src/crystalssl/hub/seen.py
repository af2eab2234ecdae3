"""What weights have seen: formulas and structures of the pre-training corpus, as small hash sets.

Written beside a block's weights, named with its checksum on the card, and asked by evaluations
which test crystals are not new to the weights. Sets are sorted hashes in Elias-Fano code, some 15
bits an entry. Source: P. Elias, J. ACM 21 (1974) 246.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as read_arrays
from safetensors.numpy import save as write_arrays

from crystalssl.errors import InputError
from crystalssl.files import check_version, sha256, write_bytes
from crystalssl.representation.fingerprint import NAMES, fingerprints
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

SEEN_FILE = "seen.safetensors"
"""File name beside a block's weights."""
SCHEME = 1
"""Version of the hashes; sets of another version cannot be asked."""
BIN = 0.06
"""Width of the bins into which each number of a fingerprint falls."""
FORMULA_BITS = 11
"""A formula that is not in the set is taken for one with probability 2 ** -11 = 0.0005."""
STRUCTURE_BITS = 14
"""As above for each of the eight look-ups of a structure: 8 * 2 ** -14 = 0.0005."""
FALSE_POSITIVE_RATE = 2.0**-FORMULA_BITS
"""Probability that a formula, or a structure, that is not in its set is taken for one that is."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class HashSet:
    """A set of texts that can only be asked whether it holds one; it may err towards yes.

    Attributes:
        values: sorted hashes below ``len(values) << bits``.
        bits: a text that is not in the set is taken for one with probability ``2 ** -bits``.
    """

    values: npt.NDArray[np.uint64]
    bits: int

    @staticmethod
    def of(texts: Iterable[str], bits: int) -> HashSet:
        """The set of some texts."""
        held = sorted(set(texts))
        values = np.sort(_hashes(held) % np.uint64(max(len(held) << bits, 1)))
        return HashSet(values=values, bits=bits)

    def __len__(self) -> int:
        return len(self.values)

    def holds(self, texts: Iterable[str]) -> Mask:
        """(n,) whether each text is in the set."""
        asked = _hashes(list(texts))
        if not len(self):
            return np.zeros(len(asked), bool)
        return np.isin(asked % np.uint64(len(self) << self.bits), self.values)

    def pack(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Elias-Fano code: low bits side by side, high bits as steps in unary."""
        low = (self.values[:, None] >> np.arange(self.bits, dtype=np.uint64)) & np.uint64(1)
        high = (self.values >> np.uint64(self.bits)).astype(np.int64)
        steps = np.zeros(2 * len(self) + 1, np.uint8)
        steps[high + np.arange(len(self))] = 1
        return {"low": np.packbits(low.astype(np.uint8)), "high": np.packbits(steps)}

    @staticmethod
    def unpack(
        low: npt.NDArray[np.uint8], high: npt.NDArray[np.uint8], count: int, bits: int
    ) -> HashSet:
        """The set that :meth:`pack` packed.

        Raises:
            ValueError: if the parts do not hold ``count`` entries.
        """
        if not (count >= 0 and 0 < bits < 64 and count * bits <= 8 * len(low)):
            raise ValueError(f"got {count} entries of {bits} bits in {len(low)} bytes")
        ones_at = np.flatnonzero(np.unpackbits(high))
        if len(ones_at) != count:
            raise ValueError(f"expected {count} entries, got {len(ones_at)}")
        ones = np.unpackbits(low, count=count * bits).reshape(count, bits).astype(np.uint64)
        values = (ones << np.arange(bits, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
        values += (ones_at - np.arange(count)).astype(np.uint64) << np.uint64(bits)
        return HashSet(values=values, bits=bits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Formulas and structures that were in a pre-training corpus.

    Two structures count as the same if they have one reduced formula and nearly the same numbers
    of ``representation.fingerprint``: surely if volume per atom differs by less than 3 % and each
    pair sum by less than 0.03, perhaps up to three times as much. So another cell, noise of 0.01
    angstrom or another relaxation of the same crystal is recognised; mirror images and polytypes,
    whose near neighbours agree, cannot be told apart and count as seen.

    Attributes:
        formulas_held: reduced formulas.
        structures_held: formulas with binned fingerprints.
    """

    formulas_held: HashSet
    structures_held: HashSet

    @staticmethod
    def from_crystals(crystals: Crystals) -> Seen:
        """What a corpus of valid crystals, in any cells, holds."""
        return Seen.from_batches([crystals])

    @staticmethod
    def from_batches(batches: Iterable[Crystals]) -> Seen:
        """The same for a corpus that comes batch by batch."""
        formulas: set[str] = set()
        structures: set[str] = set()
        for crystals in batches:
            names = reduced_formulas(crystals)
            bins = np.floor(fingerprints(crystals) / BIN).astype(np.int64)
            formulas.update(names.tolist())
            structures.update(_keys(names, bins))
        return Seen(
            formulas_held=HashSet.of(formulas, FORMULA_BITS),
            structures_held=HashSet.of(structures, STRUCTURE_BITS),
        )

    def formulas(self, crystals: Crystals) -> Mask:
        """(n,) whether the reduced formula of each crystal was in the corpus.

        Wrong for a formula that was not with probability ``false_positive_rate``: of 2,000 new
        formulas one is taken for a seen one. Where the corpus itself is at hand, compare with
        ``structures.formulas.reduced_formulas`` of it, which is exact.
        """
        return self.formulas_held.holds(reduced_formulas(crystals).tolist())

    def structures(self, crystals: Crystals) -> Mask:
        """(n,) whether each crystal itself was in the corpus.

        Valid crystals in any cell; the two nearest bins of each number are looked up. Wrong for a
        crystal of a seen formula that was not in it with probability ``false_positive_rate``.
        """
        names, seen_formula = reduced_formulas(crystals), self.formulas(crystals)
        position = fingerprints(crystals) / BIN  # (n, 3) in bins
        near = np.floor(position).astype(np.int64)
        other = np.where(position - near < 0.5, -1, 1)  # the side on which the next bin is closer
        known = np.zeros(len(crystals), bool)
        for steps in product((0, 1), repeat=len(NAMES)):
            known |= self.structures_held.holds(_keys(names, near + other * np.array(steps)))
        return seen_formula & known

    def summary(self) -> dict[str, float | int]:
        """Counts and the rate of wrong answers, for the card."""
        return {
            "formulas": len(self.formulas_held),
            "structures": len(self.structures_held),
            "false_positive_rate": self.false_positive_rate,
        }

    @property
    def false_positive_rate(self) -> float:
        """Probability that a formula, or a structure, that was not there is taken for one that was.

        To be named wherever a seen formula or structure is.
        """
        look_ups = 2 ** len(NAMES)
        return float(max(2.0**-self.formulas_held.bits, look_ups * 2.0**-self.structures_held.bits))

    def pack(self) -> bytes:
        """The sets as a safetensors file holds them."""
        sets = {"formulas": self.formulas_held, "structures": self.structures_held}
        arrays: dict[str, npt.NDArray[np.uint8] | npt.NDArray[np.int64]] = {
            f"{name}.{key}": value
            for name, hashes in sets.items()
            for key, value in hashes.pack().items()
        }
        for name, hashes in sets.items():
            arrays[f"{name}.size"] = np.array([len(hashes), hashes.bits], np.int64)
        content: bytes = write_arrays({**arrays, "scheme": np.array([SCHEME], np.int64)})
        return content

    def save(self, path: Path) -> str:
        """Write the sets, atomically; returns the SHA-256 of the file."""
        return sha256(write_bytes(self.pack(), path))

    @staticmethod
    def load(path: Path, checksum: str | None = None) -> Seen:
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            checksum: SHA-256 it must have; not compared if None.

        Raises:
            InputError: if it is missing, damaged, another file, or of another scheme.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(
                f"Cannot read the list of seen crystals {path}: {error.strerror}. Copy it from "
                "where the weights came from."
            ) from error
        if checksum is not None and hashlib.sha256(content).hexdigest() != checksum:
            raise InputError(
                f"{path} is not the list of seen crystals that the card names: its checksum "
                "differs. Copy the folder of the block again."
            )
        try:
            arrays = read_arrays(content)
            if check_version(int(arrays["scheme"][0]), SCHEME, path) == SCHEME:
                return Seen(
                    formulas_held=_unpacked(arrays, "formulas"),
                    structures_held=_unpacked(arrays, "structures"),
                )
            raise ValueError("no scheme")
        except (SafetensorError, KeyError, ValueError, IndexError, TypeError) as error:
            raise InputError(
                f"{path} holds no list of seen crystals ({error}). Copy the folder of the block "
                "again."
            ) from error


def _hashes(texts: list[str]) -> npt.NDArray[np.uint64]:
    """(n,) 64-bit hashes, the same on every machine."""
    joined = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64)


def _keys(names: npt.NDArray[np.str_], bins: npt.NDArray[np.int64]) -> list[str]:
    return [f"{n} {a} {b} {c}" for n, (a, b, c) in zip(names.tolist(), bins.tolist(), strict=True)]


def _unpacked(arrays: dict[str, npt.NDArray[np.uint8]], name: str) -> HashSet:
    count, bits = (int(number) for number in arrays[f"{name}.size"])
    return HashSet.unpack(arrays[f"{name}.low"], arrays[f"{name}.high"], count, bits)
