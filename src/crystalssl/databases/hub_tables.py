"""Structure tables on the Hugging Face hub (LeMat-Bulk) to pages: a row group of Parquet each.

A query is the name of a subset, a folder of the data set; a cursor says file and row group. Each
file is downloaded whole, checked, read and removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.databases.contract import NOT_STATED, Page, Query
from crystalssl.databases.reading import labelled, valid
from crystalssl.errors import InputError, unknown_name
from crystalssl.files import remove
from crystalssl.structures.parquet_footer import check_size
from crystalssl.structures.table import from_arrow
from crystalssl.web.huggingface import Repository, bring, choose, look_up


@dataclass(frozen=True, kw_only=True, slots=True)
class HubTables:
    """A data set of structure tables.

    Attributes:
        name: by which users know it.
        title: what it is.
        repository: of the form ``organisation/name``.
        licence: licence of its entries, where its card says none.
        query_example: a subset.
    """

    name: str
    title: str
    repository: str
    licence: str = NOT_STATED
    query_example: str = "compatible_pbe"

    @property
    def address(self) -> str:
        """The repository, as the hub knows it."""
        return f"hf://datasets/{self.repository}"

    def pages(self, query: Query, cursor: str = "") -> Iterator[Page]:
        """Row groups of all files of a subset.

        Raises:
            NetworkError: if the hub cannot be reached, or sends another file than it lists.
            InputError: if there is no such subset or revision.
        """
        commit, _, place = cursor.partition(":")
        subset, _, revision = (query.text.strip() or self.query_example).partition("@")
        repository = look_up(self.repository, commit or revision or "main", "datasets")
        files = choose(repository.files, subset, ".parquet")
        if not files:
            subsets = sorted({f.path.split("/")[0] for f in repository.files if "/" in f.path})
            raise unknown_name(f"subset of {self.name}", subset, subsets)
        first, _, group = place.partition(",")
        start = (int(first), int(group)) if first.isdigit() and group.isdigit() else (0, 0)
        for number in range(start[0], len(files)):
            path = query.folder / f"{number:05}.source"
            bring(repository, files[number], path, query.advance)
            begin = start[1] if number == start[0] else 0
            last = number == len(files) - 1
            yield from self._read(path, repository, (number, begin), last)
            remove(path)

    def _read(
        self, path: Path, repository: Repository, start: tuple[int, int], last: bool
    ) -> Iterator[Page]:
        """Pages of one file, a row group each."""
        number, begin = start
        licence = repository.licence or self.licence
        try:
            with path.open("rb") as handle:
                check_size(handle, self.name)
            with pq.ParquetFile(path) as file:
                for group in range(begin, file.num_row_groups):
                    result = from_arrow(file.read_row_group(group), self.name)
                    crystals, skipped = valid(result)
                    end = group + 1 == file.num_row_groups
                    place = f"{number + 1},0" if end else f"{number},{group + 1}"
                    yield Page(
                        crystals=labelled(crystals, self.name, licence),
                        skipped=skipped,
                        cursor="" if end and last else f"{repository.commit}:{place}",
                    )
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} of {self.name} is no Parquet file ({error}).") from error
