"""Former name of ``shards.py``: to be removed once nothing imports it."""

from crystalssl.datasets.shards import ShardedCorpus as PartedCorpus
from crystalssl.datasets.shards import joined, split_by_formula
from crystalssl.datasets.shards import shards_fit as parts_fit
from crystalssl.datasets.shards import write_shards as write_parts

__all__ = ["PartedCorpus", "joined", "parts_fit", "split_by_formula", "write_parts"]
