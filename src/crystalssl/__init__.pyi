from crystalssl.adapters.sklearn import CrystalFeaturizer as CrystalFeaturizer
from crystalssl.blocks.contract import (
    Block as Block,
)
from crystalssl.blocks.contract import (
    BlockBatch as BlockBatch,
)
from crystalssl.blocks.contract import (
    Encoded as Encoded,
)
from crystalssl.blocks.contract import (
    PretextResult as PretextResult,
)
from crystalssl.blocks.contract import (
    TaskInfo as TaskInfo,
)
from crystalssl.errors import CrystalSSLError as CrystalSSLError
from crystalssl.features.features import Features as Features
from crystalssl.features.store import load_features as load_features
from crystalssl.pipeline import (
    convert as convert,
)
from crystalssl.pipeline import (
    evaluate as evaluate,
)
from crystalssl.pipeline import (
    explain as explain,
)
from crystalssl.pipeline import (
    extract as extract,
)
from crystalssl.pipeline import (
    fit as fit,
)
from crystalssl.pipeline import (
    predict as predict,
)
from crystalssl.pipeline import (
    pretrain as pretrain,
)
from crystalssl.pipeline import (
    report as report,
)
from crystalssl.pipeline import (
    run as run,
)
from crystalssl.pipeline import (
    train_bottleneck as train_bottleneck,
)
from crystalssl.properties.estimators import CrystalClassifier as CrystalClassifier
from crystalssl.properties.estimators import CrystalRegressor as CrystalRegressor
from crystalssl.properties.property_model import PropertyModel as PropertyModel
from crystalssl.search import CrystalIndex as CrystalIndex
from crystalssl.structures.canonical import canonicalize as canonicalize
from crystalssl.structures.crystals import Crystals as Crystals
from crystalssl.structures.reading import read_structures as read_structures

__version__: str

def __getattr__(name: str) -> object: ...
def __dir__() -> list[str]: ...
