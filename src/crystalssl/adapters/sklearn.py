"""Structures to features as a scikit-learn transformer, with the duties of a matminer featurizer.

``fit`` loads trained encoders, ``transform`` gives one row for each structure, in order. Nothing
is learned from the structures given, so there is nothing to leak between training and test.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from crystalssl.adapters.inputs import Gathered, gather
from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import get_block
from crystalssl.config import SYMPREC
from crystalssl.devices import choose_device
from crystalssl.errors import InputError, unknown_name
from crystalssl.features.block_choice import CRYSTAL, SITE, way_to_electrons
from crystalssl.features.bottleneck import AUTO
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.processes import usable_cores

OnInvalid = Literal["warn", "nan", "error"]

CITATIONS = (
    "@software{crystalssl, title={crystalssl: label-free pre-training for crystals}, "
    "author={{The crystalssl developers}}}",
    "@article{ren2022invertible, title={An invertible crystallographic representation for general "
    "inverse design of inorganic crystals with targeted properties}, author={Ren, Zekun and "
    "others}, journal={Matter}, volume={5}, pages={314--335}, year={2022}}",
    "@article{jain2013commentary, title={Commentary: The Materials Project: A materials genome "
    "approach to accelerating materials innovation}, author={Jain, Anubhav and others}, "
    "journal={APL Materials}, volume={1}, pages={011002}, year={2013}}",
)
"""What to cite, as BibTeX."""


class CrystalFeaturizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # untyped base
    """Structures to label-free features.

    Takes lists, arrays, Series or one-column frames of pymatgen Structures, ASE Atoms, structure
    dictionaries, ``Crystal`` or paths of files with one structure each; or ``Crystals``.

    Attributes:
        encoders_: trained block of each name, after ``fit``.
        extractor_: the encoders and what mixes their features.
        skipped_: what the last ``transform`` could not use, with reasons, in row order.
        sites_: after ``transform`` at level "site", which atom each row is
            (``features.sites.SiteRows``); ids are row numbers of an input other than ``Crystals``.

    Example:
        >>> CrystalFeaturizer(on_invalid="error")
        CrystalFeaturizer(on_invalid='error')
    """

    def __init__(
        self,
        weights: str | Path = "default",
        *,
        blocks: str | Sequence[str | int] = "all",
        output: str = AUTO,
        electronic: str = AUTO,
        level: str = CRYSTAL,
        pool: str | None = None,
        on_invalid: OnInvalid = "warn",
        symprec: float = SYMPREC,
        device: str | None = None,
        n_jobs: int | None = None,
        batch_size: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        """Take settings; nothing is loaded before ``fit``.

        Args:
            weights: folder of a pre-trained run, or the name of bundled weights.
            blocks: "all", or the blocks to use: names and numbers, in a list or as "1,3".
            output: "blocks" for the blocks side by side, the name of a bottleneck that mixes
                them, "auto": mixed if the weights have a bottleneck for these blocks, or
                "physics" for named numbers, which need no weights (NaN where one has no
                meaning for a crystal).
            electronic: numbers of the electrons: "taught" (predicted from the other views),
                "exact" (tight binding), "full" (with spin), "off", without the block that reads
                them, or "auto": taught, and off for named physics.
            level: "crystal", or "site" for a row an atom of the primitive reduced cells; which
                atom it is says ``sites_``.
            pool: states of sites pooled in place of the features of the blocks: "mean",
                "by-element" or "cumulants" (``features.sites.pooled``).
            on_invalid: what becomes of a structure that cannot be used: NaN with a warning, NaN
                alone, or an error.
            symprec: tolerance of the symmetry search in angstrom.
            device: where to compute; a CUDA GPU if there is one by default.
            n_jobs: threads that encode on a CPU; -1 for one on each core, None for as many as
                PyTorch uses.
            batch_size: crystals encoded at a time; by default what suits the device.
            verbose: whether to show a progress bar.
        """
        self.weights = weights
        self.blocks = blocks
        self.output = output
        self.electronic = electronic
        self.level = level
        self.pool = pool
        self.on_invalid = on_invalid
        self.symprec = symprec
        self.device = device
        self.n_jobs = n_jobs
        self.batch_size = batch_size
        self.verbose = verbose

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = "default",
        *,
        blocks: str | Sequence[str | int] = "all",
        output: str = AUTO,
        electronic: str = AUTO,
        device: str | None = None,
    ) -> CrystalFeaturizer:
        """A featurizer with its encoders loaded, ready to transform.

        Args:
            weights: folder of a pre-trained run, the name of bundled weights, or an address:
                ``hf://organisation/name@revision``, or ``https://`` of a ``.zip`` with
                ``#sha256=`` and its checksum.
            blocks: as for the class.
            output: as for the class.
            electronic: as for the class.
            device: as for the class.

        Raises:
            InputError: as :meth:`fit`.
            UnknownNameError: as :meth:`fit`.

        Example:
            >>> featurizer = CrystalFeaturizer.from_pretrained("tiny", blocks="1,3", device="cpu")
            >>> list(featurizer.encoders_)
            ['composition', 'sites']
        """
        return cls(
            weights, blocks=blocks, output=output, electronic=electronic, device=device
        ).fit()

    def fit(self, X: Any = None, y: Any = None) -> CrystalFeaturizer:
        """Load the encoders; structures and labels are ignored.

        Raises:
            InputError: if there are no such weights or they are damaged, if there is no such
                device, or if ``n_jobs`` or ``batch_size`` cannot be.
            UnknownNameError: for an unknown name of weights, block or ``on_invalid``.
        """
        if self.on_invalid not in get_args(OnInvalid):
            raise unknown_name("on_invalid", str(self.on_invalid), get_args(OnInvalid))
        if self.n_jobs == 0 or (self.n_jobs is not None and self.n_jobs < -1):
            raise InputError(f"Got n_jobs={self.n_jobs}, expected None, -1 or a positive number.")
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"Got batch_size={self.batch_size}, expected None or 1 and more.")
        choose_device(self.device)
        names = () if self.blocks == "all" else tuple(_names(self.blocks))
        recipe = ExtractorConfig(
            weights=str(self.weights), blocks=names, device=self.device, output=self.output,
            electronic=way_to_electrons(self.electronic, self.output, self.weights),
        ).of_sites(self.level, self.pool)  # fmt: skip
        self.extractor_ = recipe.extractor()
        self.encoders_: dict[str, Block] = dict(self.extractor_.encoders)
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """One row of features for each structure, or for each of its sites, in the order given.

        Returns:
            (n, features) float32; NaN in rows that cannot be used, unless ``on_invalid`` says
            otherwise. ``skipped_`` tells why. At level "site" (sites, channels), without rows of
            structures that cannot be used.

        Raises:
            InputError: if the input is no list, or a structure cannot be used and
                ``on_invalid`` is "error".
        """
        check_is_fitted(self)
        gathered = gather(X, self.symprec)
        self.skipped_ = gathered.skipped
        self._report_skipped(gathered)
        with _threads(self.n_jobs), _progress(bool(self.verbose)) as progress:
            if self.level == SITE:
                self.sites_ = self.extractor_.sites_of(gathered.canonical, progress)
                return self.sites_.matrix
            features = self.extractor_.features_of(
                gathered.canonical, progress, self.batch_size
            ).matrix
        matrix = np.full((gathered.total, features.shape[1]), np.nan, np.float32)
        matrix[gathered.rows] = features
        return matrix

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Names of the columns, ``<block>_<i>``, or those of named physics."""
        check_is_fitted(self)
        names = self.extractor_.names if self.level == CRYSTAL else self.extractor_.channel_names
        return np.array(names, dtype=object)

    def feature_labels(self) -> list[str]:
        """Names of the columns, as matminer asks for them."""
        return [str(name) for name in self.get_feature_names_out()]

    def citations(self) -> list[str]:
        """What to cite, as BibTeX."""
        return list(CITATIONS)

    def implementors(self) -> list[str]:
        """Who wrote it."""
        return ["The crystalssl developers"]

    def precheck(self, structure: Any) -> bool:
        """Whether a structure can be used."""
        return len(gather([structure], self.symprec).rows) == 1

    def _report_skipped(self, gathered: Gathered) -> None:
        """Raise or warn about structures that cannot be used."""
        if not gathered.skipped or self.on_invalid == "nan":
            return
        first = gathered.skipped[0]
        message = (
            f"{len(gathered.skipped)} of {gathered.total} structures cannot be used. First: row "
            f"{first.id}: {first.reason}; {first.remedy}."
        )
        if self.on_invalid == "error":
            raise InputError(message)
        text = f"{message} Their rows are NaN; see skipped_."
        warnings.warn(text, UserWarning, stacklevel=_frames_to_user())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoders_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.no_validation = True
        return tags


def _names(blocks: str | Sequence[str | int]) -> list[str]:
    """Block names from names and numbers in a sequence or a comma-separated text.

    A name is left as it is: weights may hold a block that is not installed.
    """
    items = blocks.split(",") if isinstance(blocks, str) else blocks
    words = [str(item).strip() for item in items]
    return [get_block(word).name if word.isdigit() else word for word in words]


def _frames_to_user() -> int:
    """``stacklevel`` of the caller's first frame outside of this package and scikit-learn.

    scikit-learn wraps ``transform`` and pipelines call it, so that no fixed number is right.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_library(frame):
        frame, level = frame.f_back, level + 1
    return level


def _is_library(frame: FrameType) -> bool:
    root = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return root in ("crystalssl", "sklearn", "joblib", "contextlib")


@contextmanager
def _threads(n_jobs: int | None) -> Iterator[None]:
    """As many threads of PyTorch as asked for; those that encode are as many."""
    import torch

    before = torch.get_num_threads()
    try:
        if n_jobs is not None:
            torch.set_num_threads(usable_cores() if n_jobs == -1 else n_jobs)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on standard error; None where it is not wanted."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TextColumn("crystals"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("Encoding", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
