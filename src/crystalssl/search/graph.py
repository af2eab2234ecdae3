"""Coordinates -> a graph of near neighbours (HNSW), for tables of millions of crystals.

Comparing a query with all of three million rows of 512 numbers takes seconds; walking a graph takes
milliseconds, and misses a neighbour now and then. Only candidates come from it: their distances are
exact (``nearest.py``). It is made, never read from a file: nobody checks what the C++ code would
take from there. Extra: ``search``. Source: Malkov, Yashunin, IEEE TPAMI 42 (2020) 824; usearch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crystalssl.errors import require
from crystalssl.search.nearest import Matrix, Rows

CONNECTIVITY, BUILD, SEARCH = 16, 128, 128
"""Edges of a row, and rows kept in mind while the graph is made and while it is searched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """A graph of n rows.

    Attributes:
        index: ``usearch.index.Index`` whose keys are rows.
    """

    index: Any

    @staticmethod
    def of(coordinates: Matrix, threads: int = 1) -> Graph:
        """The graph of rows (n, m); with one thread the same rows give the same graph.

        Raises:
            MissingExtraError: if usearch is not installed.
        """
        require("usearch", "search", "A graph of neighbours")
        from usearch.index import Index

        index = Index(
            ndim=coordinates.shape[1], metric="l2sq", dtype="f16",  # candidates need no more
            connectivity=CONNECTIVITY, expansion_add=BUILD, expansion_search=SEARCH,
        )  # fmt: skip
        index.add(np.arange(len(coordinates)), coordinates, threads=threads)
        return Graph(index=index)

    def candidates(self, queries: Matrix, kept: int) -> Rows | None:
        """(q, kept) rows near to queries (q, m), in no order; None where it finds too few."""
        found = self.index.search(np.atleast_2d(queries), kept, threads=1)
        rows = np.atleast_2d(np.asarray(found.keys)).astype(np.int64)
        counts = getattr(found, "counts", None)
        whole = rows.shape[1] == kept and (counts is None or bool((counts == kept).all()))
        return rows if whole else None
