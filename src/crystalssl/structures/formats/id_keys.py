"""Names under which databases and programs keep the id of an entry.

Shared by the readers of records: JSON, extended XYZ, ASE databases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crystalssl.structures.columns import is_scalar

ID_KEYS = (
    "immutable_id",
    "material_id",
    "mp_id",
    "entry_id",
    "jid",
    "id",
    "uid",
    "task_id",
    "mpid",
    "name",
)
"""Keys that hold an id, first match first."""


def id_of(values: Mapping[str, Any], otherwise: str) -> str:
    """The id among some values, or another name where there is none."""
    for key in ID_KEYS:
        value = values.get(key)
        if is_scalar(value) and not isinstance(value, bool):
            try:
                return str(value)
            except ValueError:  # Python writes no integer of thousands of digits
                continue
    return otherwise
