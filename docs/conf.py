"""How the documents are built: Sphinx, MyST's Markdown and Furo, with nothing from the web at build or at view time."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import meshfab  # noqa: E402  # the checkout, whose path was only just added
import tables  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "meshfab"
release = meshfab.version.__version__
copyright = "the authors of meshfab"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_static"]

myst_enable_extensions = ["deflist"]
# Headings are linked to by the names that forges give them, so that a link works there as well.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"meshfab {release}"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"

_made = tables.everything()


def setup(app: Sphinx) -> None:
    """A line `{{ settings }}` of a page stands for a table that is made of the code, at every build."""
    app.connect("source-read", _fill)


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = re.sub(r"^\{\{ (\w+) \}\}$", lambda match: _made[match[1]], source[0], flags=re.MULTILINE)
