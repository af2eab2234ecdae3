"""Sources by name: the one list of databases that ``fetch`` knows; addresses are OPTIMADE.

Base addresses are those that providers.optimade.org lists.
"""

from __future__ import annotations

from crystalssl.databases.contract import NOT_STATED, Source
from crystalssl.databases.hub_tables import HubTables
from crystalssl.databases.materials_project import MaterialsProject
from crystalssl.databases.matminer_files import MatminerFiles
from crystalssl.databases.optimade import Optimade
from crystalssl.errors import unknown_name
from crystalssl.web.requests import SCHEMES

SOURCES: tuple[Source, ...] = (
    Optimade(
        name="jarvis",
        title="JARVIS-DFT, NIST",
        address="https://jarvis.nist.gov/optimade/jarvisdft",
    ),
    Optimade(
        name="alexandria",
        title="Alexandria, PBE",
        address="https://alexandria.icams.rub.de/pbe",
        licence="CC-BY-4.0",
        fields=(
            "_alexandria_energy", "_alexandria_formation_energy_per_atom",
            "_alexandria_hull_distance", "_alexandria_band_gap",
        ),
    ),
    Optimade(
        name="alexandria-pbesol",
        title="Alexandria, PBEsol and SCAN",
        address="https://alexandria.icams.rub.de/pbesol",
        licence="CC-BY-4.0",
        fields=(
            "_alexandria_energy", "_alexandria_formation_energy_per_atom",
            "_alexandria_hull_distance", "_alexandria_band_gap",
        ),
    ),
    Optimade(
        name="cod",
        title="Crystallography Open Database",
        address="https://www.crystallography.net/cod/optimade",
        licence="CC0-1.0",
    ),
    Optimade(
        name="tcod",
        title="Theoretical Crystallography Open Database",
        address="https://www.crystallography.net/tcod/optimade",
        licence="CC0-1.0",
    ),
    Optimade(
        name="oqmd",
        title="Open Quantum Materials Database",
        address="https://oqmd.org/optimade",
        licence="CC-BY-4.0",
        fields=("_oqmd_delta_e", "_oqmd_stability", "_oqmd_band_gap"),
    ),
    Optimade(
        name="mp",
        title="Materials Project by OPTIMADE (no key)",
        address="https://optimade.materialsproject.org",
        licence="CC-BY-4.0",
    ),
    Optimade(
        name="odbx", title="Open Database of Xtals", address="https://optimade.odbx.science"
    ),
    Optimade(
        name="twodmatpedia", title="2DMatpedia", address="http://optimade.2dmatpedia.org"
    ),
    MaterialsProject(),
    MatminerFiles(),
    MatminerFiles(
        name="matbench",
        title="Matbench, the same files",
        address="https://matbench.materialsproject.org",
    ),
    HubTables(
        name="lemat-bulk",
        title="LeMat-Bulk: Materials Project, Alexandria and OQMD made alike",
        repository="LeMaterial/LeMat-Bulk",
        licence="CC-BY-4.0",
    ),
)  # fmt: skip
"""All sources, in the order in which they are listed."""


def get_source(name: str) -> Source:
    """A source by its name, or an OPTIMADE provider by its base address.

    Raises:
        UnknownNameError: if it is neither.
    """
    if name.partition("://")[0].lower() in SCHEMES:
        return Optimade(name="optimade", title=name, address=name, licence=NOT_STATED)
    known = {source.name: source for source in SOURCES}
    if name.lower() not in known:
        raise unknown_name("source", name, known, "crystalssl info sources")
    return known[name.lower()]
