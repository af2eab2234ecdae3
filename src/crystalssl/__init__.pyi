from crystalssl.adapters.sklearn import CrystalFeaturizer as CrystalFeaturizer
from crystalssl.blocks.contract import (
    Block as Block,
    BlockBatch as BlockBatch,
    Encoded as Encoded,
    PretextResult as PretextResult,
    TaskInfo as TaskInfo,
)
from crystalssl.errors import CrystalSSLError as CrystalSSLError
from crystalssl.features.features import Features as Features
from crystalssl.features.store import load_features as load_features
from crystalssl.pipeline import (
    convert as convert,
    evaluate as evaluate,
    extract as extract,
    pretrain as pretrain,
    report as report,
    run as run,
    train_bottleneck as train_bottleneck,
)
from crystalssl.structures.canonical import canonicalize as canonicalize
from crystalssl.structures.crystals import Crystals as Crystals
from crystalssl.structures.reading import read_structures as read_structures

__version__: str

def __getattr__(name: str) -> object: ...
def __dir__() -> list[str]: ...
