"""A corpus of canonical crystals as flat tensors, from which batches are gathered by index.

Panel source, periodic graph, crystal-level targets and symmetry lie side by side in memory or on
a device; ``Corpus.batch`` makes what one block reads. No loop runs over crystals, sites or edges.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from crystalssl.datasets.neighbours import Neighbours, edges_of, spans
from crystalssl.errors import InputError
from crystalssl.files import atomic, check_version
from crystalssl.representation import layout
from crystalssl.representation.batch import BlockBatch
from crystalssl.representation.electronic.view import electron_rows
from crystalssl.representation.graph import PeriodicGraph, compact_sites, periodic_graph
from crystalssl.representation.panel_groups import group_rows
from crystalssl.representation.panel_source import PanelSource
from crystalssl.representation.targets import crystal_targets, no_targets
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals

Graph = PeriodicGraph | None
UNKNOWN_SYSTEM = -1
"""Crystal system of crystals that came without their symmetry."""
CORPUS_FORMAT = 1
"""Version of the files that this package writes; files from before have none."""
_IDS = "ids"


@runtime_checkable
class Reader(Protocol):
    """What a batch must know of the block that reads it."""

    @property
    def group(self) -> str:
        """Panel group."""

    @property
    def uses_graph(self) -> bool:
        """Whether it asks for the periodic graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Crystals ready to give batches to any block.

    Attributes:
        ids: (n,) identifiers, in input order.
        panel: source of the panel groups.
        neighbours: periodic graph.
        values: raw crystal-level targets (``representation.targets.TARGET_NAMES``).
        histogram: pair-distance histograms.
        crystal_system: codes 0..6, or ``UNKNOWN_SYSTEM``.
        target_mean: what is taken off each target.
        target_std: what each target is then divided by.
        electrons: numbers of the electrons (``representation.electronic.view``), NaN where one is
            not known; None where they were not computed: a batch then computes them.
    """

    ids: npt.NDArray[np.str_]
    panel: PanelSource
    neighbours: Neighbours
    values: Float[Tensor, "crystal target"]
    histogram: Float[Tensor, "crystal bin"]
    crystal_system: Int[Tensor, "crystal"]
    target_mean: Float[Tensor, "target"]
    target_std: Float[Tensor, "target"]
    electrons: Float[Tensor, "crystal quantity"] | None = None

    @staticmethod
    def from_crystals(
        source: CanonicalResult | Crystals, *, targets: bool = True, graph: Graph = None
    ) -> Corpus:
        """Build a corpus; targets are standardised over all of it (see ``fit_targets``).

        Args:
            source: what ``canonicalize`` gave, or canonical crystals alone; without symmetry the
                corpus is good for features, not for pre-training.
            targets: whether to compute crystal-level targets, which features do not need; else NaN.
            graph: their periodic graph, where it is there already.

        Raises:
            InputError: if the crystals are not canonical.
        """
        crystals = source.crystals if isinstance(source, CanonicalResult) else source
        graph = periodic_graph(crystals) if graph is None else graph
        made = crystal_targets(crystals, graph) if targets else no_targets(len(crystals))
        system = np.full(len(crystals), UNKNOWN_SYSTEM, dtype=np.int8)
        if isinstance(source, CanonicalResult):
            system = source.symmetry.crystal_system.astype(np.int8)
        neighbours = Neighbours(
            offsets=torch.from_numpy(graph.edge_offsets[crystals.offsets]),
            degree=torch.from_numpy(graph.degrees.astype(np.int16)),
            target=torch.from_numpy(compact_sites(graph.target)),
            image=torch.from_numpy(graph.image),
            distance=torch.from_numpy(graph.distance),
        )
        width = made.values.shape[1]
        corpus = Corpus(
            ids=crystals.ids,
            panel=PanelSource.from_crystals(crystals),
            neighbours=neighbours,
            values=torch.from_numpy(made.values),
            histogram=torch.from_numpy(made.histogram),
            crystal_system=torch.from_numpy(system),
            target_mean=torch.zeros(width),
            target_std=torch.ones(width),
        )
        fit = targets and len(corpus) > 0
        return corpus.fit_targets(np.arange(len(corpus))) if fit else corpus

    def __reduce__(self) -> tuple[Callable[..., Corpus], tuple[Any, ...]]:
        """Travel to other processes as arrays: tensors would go through scarce shared memory."""
        return _from_arrays, ({k: t.cpu().numpy() for k, t in self._tensors().items()}, self.ids)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def site_counts(self) -> npt.NDArray[np.int64]:
        """(n,) sites per crystal."""
        counts: npt.NDArray[np.int64] = self.panel.site_counts.cpu().numpy()
        return counts

    @property
    def has_symmetry(self) -> bool:
        """Whether the crystal system of every crystal is known."""
        return bool((self.crystal_system != UNKNOWN_SYSTEM).all())

    @property
    def has_targets(self) -> bool:
        """Whether the crystal-level targets were computed."""
        return not len(self) or not bool(self.values.isnan().all())

    @property
    def shard_of_row(self) -> None:
        """No shards: all of it is in memory (``shards.ShardedCorpus`` has them)."""
        return None

    def identity(self) -> Iterator[bytes]:
        """What distinguishes this corpus from another, piece by piece."""
        for tensor in (self.values, self.panel.lattice, self.panel.numbers, self.electrons):
            if tensor is not None:
                yield tensor.cpu().numpy().tobytes()

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(t.nbytes for t in self._tensors().values()) + self.ids.nbytes

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.values.device

    def to(self, device: torch.device | str) -> Corpus:
        """The same corpus on another device."""
        return _joined({name: t.to(device) for name, t in self._tensors().items()}, self.ids)

    def has_finite_targets(self, index: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(row,) whether the targets of some crystals can be learnt."""
        finite: npt.NDArray[np.bool_] = (
            self.values[self._rows(index)].isfinite().all(1).cpu().numpy()
        )
        return finite

    def fit_targets(self, index: npt.ArrayLike) -> Corpus:
        """The same corpus with targets standardised by the statistics of some of its crystals.

        Args:
            index: row numbers of the training crystals; those without finite targets are left out.

        Raises:
            InputError: if there is no row.
        """
        values = self.values[self._rows(index)].double()
        values = values[values.isfinite().all(1)]  # (row, target)
        if not len(values):
            raise InputError("Got no crystals to standardise targets with, expected at least one.")
        std = values.std(0, unbiased=False)
        std = torch.where(std > 1e-6, std, torch.ones_like(std))
        return replace(self, target_mean=values.mean(0).float(), target_std=std.float())

    def with_electrons(self, level: str | None = None) -> Corpus:
        """The same corpus with the numbers of the electrons of all its crystals.

        Arguments and errors as for :meth:`electrons_of`.
        """
        return replace(self, electrons=self.electrons_of(np.arange(len(self)), level))

    def electrons_of(
        self, index: Tensor | npt.ArrayLike, level: str | None = None
    ) -> Float[Tensor, "crystal quantity"]:
        """Numbers of the electrons of some crystals, computed where they are not there.

        Args:
            index: row numbers.
            level: level of the tight binding; None takes numbers that are there.

        Raises:
            UnknownNameError: if there is no such level.
        """
        rows = self._rows(index)
        if self.electrons is not None and level is None:
            return self.electrons[rows]
        crystals = Crystals.concatenate(list(self.crystals(rows.cpu().numpy())))
        return torch.from_numpy(electron_rows(crystals, level or "fast")).to(self.device)

    def crystals(self, index: npt.ArrayLike) -> Iterator[Crystals]:
        """Some of the crystals as they came, to the rounding of float32; here in one go."""
        panel = self.panel.take(self._rows(index)).to("cpu")
        yield Crystals(
            ids=self.ids[np.asarray(index, dtype=np.int64)],
            lattice=panel.lattice.double().numpy(),
            offsets=panel.offsets.numpy(),
            frac_coords=panel.frac.double().numpy(),
            numbers=panel.numbers.numpy().astype(np.int16),
            occupancy=panel.occupancy.numpy(),
        )

    def batch(
        self,
        index: Tensor | npt.ArrayLike,
        block: Reader,
        electrons: Float[Tensor, "crystal quantity"] | None = None,
    ) -> BlockBatch:
        """Gather what a block reads of some crystals, in the order of the index.

        Args:
            index: row numbers; repeats are fine.
            block: block class or instance; only ``group`` and ``uses_graph`` are read.
            electrons: numbers of these crystals' electrons to take in place of the corpus's.
        """
        rows = self._rows(index)
        panel = self.panel.take(rows)
        first = self.panel.offsets[rows]
        if block.group == layout.ELECTRONIC:
            numbers = self.electrons_of(rows) if electrons is None else electrons
            valid = numbers.isfinite()
            columns = numbers.masked_fill(~valid, 0.0).unsqueeze(-1)
        else:
            columns, valid = group_rows(panel, block.group)
        return BlockBatch(
            rows=columns,
            valid=valid,
            edges=edges_of(self.neighbours, rows, first, panel) if block.uses_graph else None,
            targets=(self.values[rows] - self.target_mean) / self.target_std,
            crystal_system=self.crystal_system[rows].long(),
            histogram=self.histogram[rows],
        )

    def take(self, index: Tensor | npt.ArrayLike) -> Corpus:
        """Select crystals by row number; the statistics of the targets stay."""
        rows = self._rows(index)
        site, _ = spans(self.panel.offsets[rows], self.panel.site_counts[rows])
        return replace(
            self,
            ids=self.ids[rows.cpu().numpy()],
            panel=self.panel.take(rows),
            neighbours=self.neighbours.take(rows, site),
            values=self.values[rows],
            histogram=self.histogram[rows],
            crystal_system=self.crystal_system[rows],
            electrons=None if self.electrons is None else self.electrons[rows],
        )

    def save(self, path: Path) -> Path:
        """Write the corpus as safetensors, atomically."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        tensors = {name: t.cpu().contiguous() for name, t in self._tensors().items()}
        text = json.dumps(self.ids.tolist()).encode()
        tensors[_IDS] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        versions = {"layout_version": str(layout.VERSION), "version": str(CORPUS_FORMAT)}
        with atomic(path) as aside:
            try:
                save_file(tensors, aside, metadata=versions)
            except SafetensorError as error:  # a full disk comes as one
                raise OSError(str(error)) from error
        return Path(path)

    @staticmethod
    def load(path: Path) -> Corpus:
        """Read a corpus that ``save`` wrote.

        Raises:
            InputError: if the file is missing, damaged, of a newer format or another layout.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as handle:
                versions = handle.metadata() or {}
                version = versions.get("version")
                check_version(None if version is None else int(version), CORPUS_FORMAT, path)
                tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            if versions.get("layout_version") != str(layout.VERSION):
                raise InputError(
                    f"The corpus {path} has panel layout {versions.get('layout_version')}, "
                    f"expected {layout.VERSION}. Build it again from the structures."
                )
            ids = json.loads(tensors.pop(_IDS).numpy().tobytes())
            return _joined(tensors, np.array(ids, dtype=np.str_))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"Cannot read the corpus {path}: {error}. Build it again from the structures."
            ) from error

    def _rows(self, index: Tensor | npt.ArrayLike) -> Int[Tensor, "row"]:
        if not isinstance(index, Tensor):
            index = torch.from_numpy(np.asarray(index, dtype=np.int64))
        return index.to(device=self.device, dtype=torch.int64)

    def _tensors(self) -> dict[str, Tensor]:
        """All tensors under flat names."""
        tensors: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                tensors[field.name] = value
            elif isinstance(value, PanelSource | Neighbours):
                for inner in fields(value):
                    tensors[f"{field.name}.{inner.name}"] = getattr(value, inner.name)
        return tensors


def _from_arrays(arrays: dict[str, npt.NDArray[Any]], ids: npt.NDArray[np.str_]) -> Corpus:
    """A corpus, on the CPU, as another process sent it."""
    return _joined({name: torch.from_numpy(array) for name, array in arrays.items()}, ids)


def _joined(tensors: dict[str, Tensor], ids: npt.NDArray[np.str_]) -> Corpus:
    """A corpus from what ``Corpus._tensors`` gave."""
    panel = {f.name: tensors[f"panel.{f.name}"] for f in fields(PanelSource)}
    near = {f.name: tensors[f"neighbours.{f.name}"] for f in fields(Neighbours)}
    plain = {name: tensor for name, tensor in tensors.items() if "." not in name}
    return Corpus(ids=ids, panel=PanelSource(**panel), neighbours=Neighbours(**near), **plain)
