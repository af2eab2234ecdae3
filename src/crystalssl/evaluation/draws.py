"""Few labels: which rows are drawn to train on, and which are tested, always the same ones.

Labelled rows in, one split per share of labels and draw out. Smaller draws lie inside larger ones
of the same number, and every feature set and head gets the same draws. Used by few_shot.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.splits import grouped_split
from crystalssl.errors import InputError
from crystalssl.evaluation.protocols import Index, Split
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

LEAST = 10
"""Training rows below which a draw is refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelDraws:
    """Shares of the training labels, drawn several times; one test part for all.

    Attributes:
        pool: (n,) True for crystals that may be trained on.
        test: (n,) True for crystals that are tested.
        kind: ``held-out`` where no encoder saw the test crystals, else ``grouped``.
        fractions: shares of the labels of the pool.
        draws: draws of each share; a draw has its number as seed, for the heads too.
        full_draws: the same where all labels are used: rows are then the same in each, and only
            the seed of the head differs.
    """

    pool: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]
    kind: str
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 1.0)
    draws: int = 5
    full_draws: int = 1

    @property
    def seeds(self) -> list[int]:
        """Every seed in use."""
        return list(range(max(self.draws, self.full_draws)))

    def splits(self, rows: Index, groups: npt.NDArray[np.str_]) -> list[Split]:
        """One split per share and draw.

        Args:
            rows: labelled rows.
            groups: (n,) formula of every crystal; pool rows of a tested formula are not drawn.

        Raises:
            InputError: if a share is not above 0 and at most 1, or a draw has too few rows.
        """
        if (
            any(not 0 < share <= 1 for share in self.fractions)
            or min(self.draws, self.full_draws) < 1
        ):
            raise InputError(
                f"Got shares {self.fractions} of the labels in {self.draws} draws; expected "
                "0 < share <= 1 and at least one draw."
            )
        tested = rows[self.test[rows]]
        pool = rows[self.pool[rows] & ~np.isin(groups[rows], groups[tested])]
        found = []
        for share in self.fractions:
            count = round(share * len(pool))
            if count < LEAST:
                raise InputError(
                    f"A share of {share:g} of {len(pool)} training labels is {count} rows; "
                    f"expected at least {LEAST}. Use larger shares or more labelled crystals."
                )
            for draw in range(self.full_draws if count == len(pool) else self.draws):
                order = np.random.default_rng(draw).permutation(len(pool))
                found.append(
                    Split(
                        kind=self.kind,
                        train_fraction=share,
                        seed=draw,
                        fold=0,
                        train=np.sort(pool[order[:count]]),
                        test=tested,
                    )
                )
        return found

    def words(self) -> str:
        """The protocol in words."""
        shares = ", ".join(f"{100 * share:g} %" for share in self.fractions)
        where = (
            "Test rows are the test part, which no encoder saw in pre-training; labels are drawn "
            "from the train part alone, and the val part is not used"
            if self.kind == "held-out"
            else "Test rows are a fifth of the crystals with formulas kept whole; labels are drawn "
            "from the rest"
        )
        if self.fractions == (1.0,) and self.full_draws == 1:
            return f"{where}; all of them are used."
        return (
            f"{where}. {shares} of the training labels, {self.draws} draws each "
            f"({self.full_draws} where all are used, with the seed of the head), the same rows for "
            "every feature set and head."
        )


def label_draws(
    crystals: Crystals,
    *,
    fractions: tuple[float, ...],
    draws: int,
    full_draws: int = 1,
    seed: int = 0,
) -> LabelDraws:
    """Draws after the split column of the crystals, else after formulas.

    Args:
        crystals: n crystals; a column ``split`` of train, val and test is followed.
        fractions: shares of the training labels.
        draws: draws of each share.
        full_draws: draws where all labels are used.
        seed: seed of the test part where there is no split column.
    """
    columns = [] if crystals.columns is None else crystals.columns.column_names
    names = crystals.column("split") if "split" in columns else np.zeros(0, np.str_)
    if {"train", "test"} <= set(names.tolist()) <= {"train", "val", "test"}:
        pool, test, kind = names == "train", names == "test", "held-out"
    else:
        _, tested = grouped_split(reduced_formulas(crystals), (0.8, 0.2), seed)
        test, kind = np.isin(np.arange(len(crystals)), tested), "grouped"
        pool = ~test
    return LabelDraws(
        pool=np.asarray(pool, bool),
        test=np.asarray(test, bool),
        kind=kind,
        fractions=fractions,
        draws=draws,
        full_draws=full_draws,
    )
