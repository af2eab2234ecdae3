"""Species names of a structure table to (atomic number, occupancy) slots, and back.

A name is looked up in the row's OPTIMADE ``species`` list (name, chemical_symbols,
concentration); without one it must be an element symbol. Works on flat arrays, site by site only
in NumPy. Used by ``table.py``; ``pack_slots`` also serves the other readers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crystalssl.errors import InputError
from crystalssl.structures.crystals import SLOTS, Crystals
from crystalssl.structures.elements import SYMBOLS, is_vacancy, symbol_to_number

TRACE = 1e-4
"""Occupancies below this are left out: four decimals are what two fillings are compared by."""
_KEY = 1000
"""Above every atomic number, so that site and number fit in one key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedSpecies:
    """Slots of every site, and what is wrong with each row.

    Attributes:
        numbers: (sites, k) int16, 0 in empty slots.
        occupancy: (sites, k) float32.
        reasons: (rows,) empty text where the row is good.
    """

    numbers: npt.NDArray[np.int16]
    occupancy: npt.NDArray[np.float32]
    reasons: list[str]


def pack_slots(
    site: npt.NDArray[np.int64],
    number: npt.NDArray[np.int64],
    amount: npt.NDArray[np.float64],
    sites: int,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Gather (site, atomic number, amount) entries into slots by decreasing occupancy.

    Entries of one element on one site are added up; entries of number 0 (vacancy), without amount
    or below ``TRACE`` vanish. Equal occupancies are ordered by atomic number.

    Args:
        site: (entries,) site index.
        number: (entries,) atomic number.
        amount: (entries,) occupancy.
        sites: number of sites.

    Returns:
        numbers (sites, k) and occupancy (sites, k), where k is ``SLOTS`` or, if more, what the
        fullest site needs.
    """
    real = (number > 0) & (amount > 0)
    key, inverse = np.unique(site[real] * _KEY + number[real], return_inverse=True)
    total = np.bincount(inverse, weights=amount[real], minlength=len(key))
    key, total = key[total >= TRACE], total[total >= TRACE]
    owner, element = key // _KEY, key % _KEY
    order = np.lexsort((element, -np.round(total, 6), owner))
    owner, element, total = owner[order], element[order], total[order]
    first = np.searchsorted(owner, np.arange(sites + 1))
    slot = np.arange(len(owner)) - first[owner]
    width = max(SLOTS, int(np.diff(first).max(initial=0)))
    numbers = np.zeros((sites, width), dtype=np.int16)
    occupancy = np.zeros((sites, width), dtype=np.float32)
    numbers[owner, slot] = element
    occupancy[owner, slot] = total
    return numbers, occupancy


def decode_species(at_sites: pa.ChunkedArray, species: pa.ChunkedArray | None) -> DecodedSpecies:
    """Turn species names into slots.

    Args:
        at_sites: list of names per row.
        species: list of {name, chemical_symbols, concentration} per row (or its JSON text), or
            None when all names are element symbols.

    Raises:
        InputError: if ``species`` is of another kind.
    """
    names = pc.list_flatten(at_sites)
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    row = np.repeat(np.arange(len(at_sites)), pc.list_value_length(at_sites).to_numpy())
    encoded = pc.fill_null(names.cast(pa.string()), "(null)").dictionary_encode()
    words = encoded.dictionary.to_pylist()
    code = np.asarray(encoded.indices.to_numpy(), dtype=np.int64)
    plain = np.array([_plain_number(word) for word in words], dtype=np.int64)
    number = plain[code] if len(words) else np.zeros(0, dtype=np.int64)
    reasons = [""] * len(at_sites)
    site = np.arange(len(code))
    amount = np.ones(len(code))
    if species is not None:
        site, number, amount = _look_up(species, words, code, row, number, reasons)
    for index in np.flatnonzero(number < 0)[::-1].tolist():
        word = words[code[site[index]]]
        reasons[row[site[index]]] = reasons[row[site[index]]] or f"species {word!r} is no element"
    numbers, occupancy = pack_slots(site, number, amount, len(code))
    filled = np.bincount(row[numbers[:, 0] > 0], minlength=len(at_sites))
    for index in np.flatnonzero(filled == 0).tolist():
        reasons[index] = reasons[index] or "no site holds an atom"
    return DecodedSpecies(numbers=numbers, occupancy=occupancy, reasons=reasons)


def mixture_codes(
    crystals: Crystals, decimals: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Give each distinct filling of a site one integer.

    Args:
        crystals: n crystals.
        decimals: occupancies that agree to so many decimals are one filling.

    Returns:
        (sites,) codes, and (codes, 2 k) the k atomic numbers and k occupancies behind them.
        A fully occupied site of one element has its atomic number as code.
    """
    slots = crystals.numbers.shape[1]
    mixtures = np.zeros((len(SYMBOLS), 2 * slots))
    mixtures[:, 0] = np.arange(len(SYMBOLS))
    mixtures[:, slots] = 1.0
    rounded = np.round(crystals.occupancy.astype(np.float64), decimals)
    code = crystals.numbers[:, 0].astype(np.int64)
    mixed = np.flatnonzero((crystals.numbers[:, 1] > 0) | (rounded[:, 0] != 1.0))
    if not len(mixed):
        return code, mixtures
    numbers = np.where(rounded[mixed] > 0, crystals.numbers[mixed], 0)
    table = np.concatenate([numbers.astype(np.float64), rounded[mixed]], axis=1)
    found, index = np.unique(table, axis=0, return_inverse=True)
    code[mixed] = len(SYMBOLS) + index.reshape(-1)
    return code, np.concatenate([mixtures, found])


def encode_species(crystals: Crystals) -> tuple[pa.Array, pa.Array | None]:
    """Names of the species of each site, and the ``species`` column if any site is disordered.

    Returns:
        (sites,) string array, and an array of n lists of {name, chemical_symbols, concentration}
        or None when every site holds one element with occupancy 1.
    """
    code, mixtures = mixture_codes(crystals, decimals=8)
    if not (code >= len(SYMBOLS)).any():
        return pa.array(SYMBOLS, type=pa.string()).take(pa.array(code)), None
    records = [*_elements(), *(_record(mixture) for mixture in mixtures[len(SYMBOLS) :])]
    words = pa.array([str(record["name"]) for record in records], type=pa.string())
    names = words.take(pa.array(code))
    pair = np.unique(crystals.crystal_of_site * len(mixtures) + code)
    offsets = np.searchsorted(pair // len(mixtures), np.arange(len(crystals) + 1))
    listed = pa.array(records, type=_SPECIES_TYPE).take(pa.array(pair % len(mixtures)))
    return names, pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), listed)


_SPECIES_TYPE = pa.struct(
    [
        ("name", pa.string()),
        ("chemical_symbols", pa.list_(pa.string())),
        ("concentration", pa.list_(pa.float64())),
    ]
)


@lru_cache(maxsize=1)
def _elements() -> list[dict[str, object]]:
    """OPTIMADE species of a site that one element fills, by atomic number."""
    return [
        {"name": symbol, "chemical_symbols": [symbol], "concentration": [1.0]} for symbol in SYMBOLS
    ]


def _record(mixture: npt.NDArray[np.float64]) -> dict[str, object]:
    """OPTIMADE species of one mixture, vacancy included."""
    number, occupancy = np.split(mixture, 2)
    filled = number > 0
    symbols = [SYMBOLS[int(z)] for z in number[filled]]
    amounts = occupancy[filled].tolist()
    if len(symbols) == 1 and amounts[0] == 1.0:
        return {"name": symbols[0], "chemical_symbols": symbols, "concentration": amounts}
    name = "".join(f"{s}{a:.8g}" for s, a in zip(symbols, amounts, strict=True))
    vacancy = 1.0 - sum(amounts)
    if vacancy > 1e-6:
        symbols, amounts = [*symbols, "vacancy"], [*amounts, vacancy]
    return {"name": name, "chemical_symbols": symbols, "concentration": amounts}


def _plain_number(word: str) -> int:
    """Atomic number of a name used as an element symbol: 0 vacancy, -1 unknown."""
    if is_vacancy(word):
        return 0
    try:
        return symbol_to_number(word)
    except InputError:
        return -1


def _look_up(
    species: pa.ChunkedArray,
    words: list[str],
    code: npt.NDArray[np.int64],
    row: npt.NDArray[np.int64],
    plain: npt.NDArray[np.int64],
    reasons: list[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Entries (site, number, amount) where each name is looked up in its row's species list."""
    listed = _as_records(species)
    lengths = pc.fill_null(pc.list_value_length(listed), 0).to_numpy()
    owner = np.repeat(np.arange(len(lengths)), lengths)
    flat = pc.list_flatten(listed)
    index = {word: number for number, word in enumerate(words)}
    known = np.array([index.get(n, len(words)) for n in pc.struct_field(flat, "name").to_pylist()])
    key = owner * (len(words) + 1) + known.astype(np.int64)
    order = np.argsort(key, kind="stable")
    wanted = row * (len(words) + 1) + code
    place = np.searchsorted(key[order], wanted)
    found = np.zeros(len(code), dtype=bool)
    inside = place < len(order)
    found[inside] = key[order][place[inside]] == wanted[inside]
    record = order[place[found]] if found.any() else np.zeros(0, dtype=np.int64)
    symbols, amounts, first = _entries(flat, owner, reasons)
    count = np.diff(first)[record]
    site = np.repeat(np.flatnonzero(found), count)
    start = np.repeat(first[record] - np.cumsum(count) + count, count)
    entry = start + np.arange(len(site))
    rest = np.flatnonzero(~found)
    return (
        np.concatenate([site, rest]),
        np.concatenate([symbols[entry], plain[rest]]),
        np.concatenate([amounts[entry], np.ones(len(rest))]),
    )


def _as_records(species: pa.ChunkedArray) -> pa.Array:
    """The species column as one array of lists of structs."""
    column = species.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else column.chunk(0)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pa.array(
            [json.loads(text) if text else None for text in column.to_pylist()],
            type=pa.list_(_SPECIES_TYPE),
        )
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), type=pa.list_(_SPECIES_TYPE))
    fields = {f.name for f in column.type.value_type} if pa.types.is_nested(column.type) else set()
    if not {"name", "chemical_symbols", "concentration"} <= fields:
        raise InputError(
            f"Column 'species' is {column.type}; expected a list of records with name, "
            "chemical_symbols and concentration, as in OPTIMADE."
        )
    return column


def _entries(
    flat: pa.Array, owner: npt.NDArray[np.int64], reasons: list[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Atomic numbers and concentrations of all species records, one after the other."""
    symbols = pc.struct_field(flat, "chemical_symbols")
    amounts = pc.struct_field(flat, "concentration")
    per_symbol = pc.fill_null(pc.list_value_length(symbols), 0).to_numpy()
    per_amount = pc.fill_null(pc.list_value_length(amounts), 0).to_numpy()
    uneven = per_symbol != per_amount
    for row in owner[uneven].tolist():
        reasons[row] = "a species lists other numbers of chemical_symbols and of concentration"
    lists = amounts.to_pylist()
    for record in np.flatnonzero(uneven).tolist():
        lists[record] = [0.0] * int(per_symbol[record])
    listed = lists if uneven.any() else None
    values = pa.array([x for part in listed for x in part]) if listed else pc.list_flatten(amounts)
    concentration = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    words = pc.fill_null(pc.list_flatten(symbols), "(null)").dictionary_encode()
    lookup = np.array([_plain_number(w) for w in words.dictionary.to_pylist()], dtype=np.int64)
    number = lookup[words.indices.to_numpy()] if len(words) else np.zeros(0, dtype=np.int64)
    negative = np.repeat(owner, per_symbol)[concentration < 0]
    for row in negative.tolist():
        reasons[row] = reasons[row] or "an occupancy is negative"
    # a missing concentration must not pass as an empty slot
    number = np.where(np.isfinite(concentration), number, -1)
    amount = np.where(number < 0, 1.0, concentration)
    return number, amount, np.concatenate([[0], np.cumsum(per_symbol)]).astype(np.int64)
