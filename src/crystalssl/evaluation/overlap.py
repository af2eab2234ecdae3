"""Test crystals -> pre-training overlap: which of them the weights behind the features saw.

No label is ever seen there, but a crystal that is not new to an encoder is not a fair test of how
it carries over to new ones. Every scenario asks once and says the counts:

    overlap = find_overlap(features.origins, crystals)
    split = overlap.drop(split, drop_seen)          # test rows; training rows stay
    record = overlap.noted(record, tested_rows, formulas, drop_seen)
    say(overlap.words(record.counts))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from crystalssl.errors import CrystalSSLError, InputError, unknown_name
from crystalssl.evaluation.results import Record
from crystalssl.evaluation.splits import Index, Split
from crystalssl.features.features import UNTRAINED, Origin
from crystalssl.hub.card import ModelCard
from crystalssl.hub.seen import Seen
from crystalssl.hub.weights import load_seen, run_folders
from crystalssl.structures.crystals import Crystals

DropSeen = Literal["none", "formulas", "structures"]
"""Test crystals to leave out: none, those of a seen formula, or those seen themselves."""
NOT_RECORDED = "the features do not say which weights they come from"
"""Why nothing is known of features made elsewhere, or by an older version."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Which of n crystals are not new to the weights.

    Attributes:
        weights: names or folders of the weights, joined by commas.
        unknown: why it cannot be told, empty where it can.
        formulas: (n,) whether the reduced formula was in the pre-training corpus of any of them.
        structures: (n,) whether the crystal itself was (``hub.seen.Seen``).
        false_positive_rate: probability that a formula that was not there is taken for one that
            was, since the lists hold hashes.
    """

    weights: str
    unknown: str
    formulas: Mask
    structures: Mask
    false_positive_rate: float = 0.0

    def seen(self, mode: DropSeen) -> Mask:
        """(n,) crystals that a mode leaves out.

        Raises:
            InputError: if it is not known what the weights have seen.
            UnknownNameError: if there is no such mode.
        """
        if mode not in get_args(DropSeen):
            raise unknown_name("choice of --drop-seen", str(mode), get_args(DropSeen))
        if mode == "none":
            return np.zeros(len(self.formulas), bool)
        if self.unknown:
            raise InputError(
                f"Cannot leave out seen {mode}: {self.unknown}. Extract the features again with "
                "weights whose cards list what they have seen, or use --drop-seen none."
            )
        return self.formulas if mode == "formulas" else self.structures

    def drop(self, split: Split, mode: DropSeen) -> Split:
        """A split without seen crystals among its test rows; training rows stay.

        Raises:
            InputError: if fewer than two test rows are left, or as :meth:`seen`.
        """
        test = split.test[~self.seen(mode)[split.test]]
        if len(test) < 2:
            raise InputError(
                f"Only {len(test)} of {len(split.test)} test crystals are left without seen "
                f"{mode}; expected at least 2. Hold out more crystals from pre-training."
            )
        return replace(split, test=test)

    def counts(self, tested: Index, formulas: npt.NDArray[np.str_]) -> dict[str, int]:
        """Counts for ``Record.counts``; those of seen crystals only where they are known.

        Args:
            tested: rows that are tested in any split; repeats do not count twice.
            formulas: (n,) reduced formula of every crystal.
        """
        rows = np.unique(tested)
        counts = {"tested": len(rows), "tested formulas": len(np.unique(formulas[rows]))}
        if self.unknown:
            return counts
        return counts | {
            "tested formulas seen": len(np.unique(formulas[rows][self.formulas[rows]])),
            "tested with a seen formula": int(self.formulas[rows].sum()),
            "tested structures seen": int(self.structures[rows].sum()),
        }

    def settings(self, mode: DropSeen) -> dict[str, Any]:
        """For ``Record.config``: the weights, what is not known of them, what was dropped."""
        return {"weights": self.weights, "seen_unknown": self.unknown, "drop_seen": mode}

    def noted(
        self, record: Record, tested: Index, formulas: npt.NDArray[np.str_], mode: DropSeen
    ) -> Record:
        """A record with these counts and settings; arguments as in :meth:`counts`."""
        return replace(
            record,
            counts=record.counts | self.counts(tested, formulas),
            config=record.config | {"overlap": self.settings(mode)},
        )

    def words(self, counts: dict[str, int]) -> str:
        """The counts of a record, or of :meth:`counts`, in a sentence."""
        if self.unknown:
            return (
                f"How many of the {counts['tested']:,} test crystals were in the pre-training of "
                f"the weights is unknown: {self.unknown}."
            )
        return (
            f"Of {counts['tested']:,} test crystals, {counts['tested structures seen']:,} were in "
            f"the pre-training of the weights {self.weights} (without labels), and "
            f"{counts['tested with a seen formula']:,} have a formula that was; of "
            f"{counts['tested formulas']:,} test formulas, {counts['tested formulas seen']:,}"
            f"{self._by_chance(counts)}."
        )

    def _by_chance(self, counts: dict[str, int]) -> str:
        """How many of the seen formulas are expected to be none."""
        if not self.false_positive_rate or not counts["tested formulas seen"]:
            return ""
        expected = counts["tested formulas"] * self.false_positive_rate
        return f" (of new ones {expected:.1g} would be taken for seen ones: lists hold hashes)"


def find_overlap(origins: Sequence[Origin], crystals: Crystals) -> Overlap:
    """Ask the weights that features come from which crystals they have seen.

    Args:
        origins: of all features in use (``Features.origins``); a crystal counts as seen if any of
            the weights saw it. None of them: unknown.
        crystals: n valid crystals in any cells, training and test rows alike.

    Returns:
        The overlap; never an error: what cannot be told says why in ``unknown``.
    """
    nothing = np.zeros(len(crystals), bool)
    formulas, structures = nothing, nothing
    lists: dict[str, Seen] = {}
    unknown = "" if origins else NOT_RECORDED
    try:
        for origin in origins:
            lists |= _lists(origin)
    except CrystalSSLError as error:
        unknown = str(error).rstrip(".")
    for seen in [] if unknown else lists.values():
        formulas = formulas | seen.formulas(crystals)
        structures = structures | seen.structures(crystals)
    names = dict.fromkeys(_name(o) for o in origins if o.weights != UNTRAINED)
    return Overlap(
        weights=", ".join(names) or UNTRAINED,
        unknown=unknown,
        formulas=formulas,
        structures=structures,
        false_positive_rate=sum(seen.false_positive_rate for seen in lists.values()),
    )


def _lists(origin: Origin) -> dict[str, Seen]:
    """The lists of one run by checksum; blocks trained on one corpus share theirs.

    Raises:
        InputError: if the weights are gone, are others by now, or came without a list.
    """
    if origin.weights == UNTRAINED:
        return {}
    folders = run_folders(origin.weights)
    seen_by: dict[str, Seen] = {}
    for block, checksum in origin.sha256.items():
        card = ModelCard.load(folders[block]) if block in folders else None
        if card is None or card.sha256 != checksum:
            raise InputError(
                f"the weights of block {block} in {origin.weights} are not those that the "
                "features were made with"
            )
        recorded = card.data.get("seen")
        if not isinstance(recorded, dict):
            raise InputError(
                f"the weights of block {block} in {origin.weights} came without a list of what "
                "they have seen"
            )
        key = str(recorded["sha256"])
        seen = seen_by.get(key) or load_seen(folders[block])
        if seen is not None:
            seen_by[key] = seen
    return seen_by


def _name(origin: Origin) -> str:
    """Short name of the weights: the last two parts of a folder."""
    return "/".join(Path(origin.weights).parts[-2:])
