"""Sphinx: Markdown pages and notebooks of this folder, and docstrings, into a site.

``make docs`` builds it into ``docs/_build/html``. Every page is complete without a network, opens
from ``file://`` and is searched in the browser. Links between pages are relative paths of Markdown
files, so that they work where the repository is read as well.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "src"))

from crystalssl import __version__  # noqa: E402 - from this tree, whatever is installed

project = "crystalssl"
author = "The crystalssl developers"
project_copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "search.md"]
suppress_warnings = ["myst.strikethrough"]

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
nb_execution_mode = "off"  # outputs are stored; scripts/run_notebooks.py makes and checks them
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # no widgets, hence no scripts from elsewhere

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the .pyi and in the source; here they hide the names
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False  # `np.str_` would be read as a reference
maximum_signature_line_length = 60

html_theme = "furo"
html_title = f"crystalssl {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_permalinks_icon = "#"
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {
        "color-brand-primary": "#0b5c7a",
        "color-brand-content": "#0b5c7a",
        "font-stack": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7cc7e8",
        "color-brand-content": "#7cc7e8",
    },
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

RENAMED = {"search": "search_and_choice"}
"""Pages under another name: Sphinx writes its own ``search.html``."""
RENAMED_LINK = re.compile(rf"(\]\((?:\.\./)*)({'|'.join(RENAMED)})(\.md[#)])")
OUTSIDE = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]*)\)")
"""A link to a path above the page's folder."""


def settle_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to folders of the repository become their text: the site has files alone."""
    folder = (DOCS / docname).parent
    for name, shown in RENAMED.items():
        if docname == shown:
            source[0] = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    source[0] = RENAMED_LINK.sub(lambda m: f"{m[1]}{RENAMED[m[2]]}{m[3]}", source[0])

    def settled(match: re.Match[str]) -> str:
        text, path = match.groups()
        return text if (folder / path).is_dir() else match[0]

    source[0] = OUTSIDE.sub(settled, source[0])


def keep_underscores(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """``model_`` is a name, not a reference to ``model``."""
    lines[:] = [re.sub(r"^:ivar (\w+)_:", r":ivar \1\\_:", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Register what this site needs beside its extensions."""
    app.connect("source-read", settle_links)
    app.connect("autodoc-process-docstring", keep_underscores, priority=900)  # after napoleon
