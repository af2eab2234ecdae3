"""Row numbers into batches: bounded in crystals and in sites, seeded, nothing dropped.

Every epoch has the same number of batches, a multiple of the number of processes, so that the
steps of a run are known beforehand and no process waits for another.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError

Index = npt.NDArray[np.int64]


def pack(order: Index, sites: Index, batch_size: int, max_atoms: int) -> list[Index]:
    """Cut an order of rows into batches, each as long as its bounds allow.

    Args:
        order: row numbers.
        sites: (n,) sites of every row of the corpus.
        batch_size: rows in a batch at most.
        max_atoms: sites in a batch at most; a row with more has a batch of its own.
    """
    ends = np.cumsum(sites[order])
    batches, start, used = [], 0, 0
    while start < len(order):
        fitting = int(np.searchsorted(ends, used + max_atoms, side="right"))
        stop = min(max(fitting, start + 1), start + batch_size)
        batches.append(order[start:stop])
        start, used = stop, int(ends[stop - 1])
    return batches


def split_to(batches: list[Index], count: int) -> list[Index]:
    """Halve the longest batches until there are ``count`` of them.

    Raises:
        InputError: if there are fewer rows than batches asked for.
    """
    batches = list(batches)
    while len(batches) < count:
        longest = max(range(len(batches)), key=lambda index: len(batches[index]), default=0)
        rows = batches[longest] if batches else np.zeros(0, np.int64)
        if len(rows) < 2:
            raise InputError(
                f"Got too few crystals for {count} batches side by side. Use fewer devices."
            )
        batches[longest : longest + 1] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    return batches


class BatchSampler:
    """Batches of row numbers for every epoch.

    The same seed and epoch give the same batches, on any machine and after a resume.

    Attributes:
        batches_per_epoch: number of batches of every epoch, over all processes.
    """

    def __init__(
        self,
        index: npt.ArrayLike,
        site_counts: npt.ArrayLike,
        *,
        batch_size: int,
        max_atoms: int,
        seed: int = 0,
        shuffle: bool = True,
        epochs: int = 1,
        multiple: int = 1,
        shards: Index | None = None,
    ) -> None:
        """Plan the batches.

        Args:
            index: row numbers to make batches of.
            site_counts: (n,) sites of every row of the corpus.
            batch_size: rows in a batch at most.
            max_atoms: sites in a batch at most; a row with more has a batch of its own.
            seed: seed of the shuffles.
            shuffle: whether each epoch is in another order.
            epochs: epochs to plan for.
            multiple: the number of batches is a multiple of this.
            shards: (n,) shard of every row of the corpus; a batch then holds rows of one shard,
                and shards follow each other in another order in each epoch.

        Raises:
            InputError: if there is no row, or fewer than ``multiple``.
        """
        self._shards = shards
        self._index = np.asarray(index, dtype=np.int64)
        self._sites = np.asarray(site_counts, dtype=np.int64)
        if not len(self._index):
            raise InputError("Got no crystals to make batches of, expected at least one.")
        self._batch_size, self._max_atoms = batch_size, max_atoms
        self._seed, self._shuffle = seed, shuffle
        planned = range(epochs if shuffle else 1)
        most = max(len(self._packed(epoch)) for epoch in planned)
        self.batches_per_epoch = -(-most // multiple) * multiple
        split_to(self._packed(0), self.batches_per_epoch)

    def epoch(self, number: int) -> list[Index]:
        """The batches of an epoch, each row of the index in exactly one of them."""
        return split_to(self._packed(number), self.batches_per_epoch)

    def share(self, number: int, process: int, processes: int) -> Iterator[tuple[int, Index]]:
        """The batches of one process, each with its number in the epoch."""
        for index, rows in enumerate(self.epoch(number)):
            if index % processes == process:
                yield index, rows

    def _packed(self, number: int) -> list[Index]:
        order = self._index
        if self._shuffle:
            order = np.random.default_rng([self._seed, number]).permutation(order)
        if self._shards is None:
            return pack(order, self._sites, self._batch_size, self._max_atoms)
        shard = self._shards[order]  # (row,) as shuffled
        first, index = np.unique(shard, return_index=True, return_inverse=True)[1:]
        turn = np.argsort(np.argsort(first))[index]  # shards as their rows come first
        together = np.argsort(turn, kind="stable")
        runs = np.split(order[together], np.cumsum(np.bincount(turn))[:-1])
        bounds = (self._batch_size, self._max_atoms)
        return [batch for run in runs for batch in pack(run, self._sites, *bounds)]
