"""A run folder in, one self-contained ``report.html`` out.

After evaluation/. Reads what other stages have stored; trains nothing and evaluates nothing. The
package can be called like the function of its name, so that ``crystalssl.report(folder)`` means
the same whether or not something has imported this package before.
"""

import sys
from types import ModuleType
from typing import Any

import crystalssl


class _Report(ModuleType):
    """A package that shares its name with the function that writes its page."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Write the page; see ``crystalssl.pipeline.report``."""
        function: Any = crystalssl.__getattr__("report")
        return function(*args, **options)


sys.modules[__name__].__class__ = _Report
