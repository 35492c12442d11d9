"""
The documentation's site: `sphinx-build -n -W --keep-going -c docs . docs/_build`.

Its source is the repository as it stands, so that each link between pages works on a Git host as
well as here; for the same reason the navigation is read from the links of `index.md`.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent

project = "flowspan"
copyright = "the flowspan authors"
root_doc = "docs/index"
include_patterns = ["README.md", "RATIONALE.md", "CHANGELOG.md", "benchmarks/README.md", "docs/**"]
exclude_patterns = ["docs/_build"]
extensions = ["myst_parser", "sphinx.ext.autodoc"]

myst_heading_anchors = 4

default_role = "literal"  # of docstrings: `name` is a name
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
# what is documented elsewhere; a reference to something of ours that is not there is an error
nitpick_ignore_regex = [
    (r"py:.*", r"(?!flowspan\.).*"),
    (r"py:class", r"flowspan\.service\.(F|Scope)"),  # what is generic
]

html_theme = "furo"
html_title = "flowspan"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]  # the way from / to the front page
html_copy_source = False


def navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """A list of pages for each section of the front page; a page that it does not name is there."""
    if name != root_doc:
        return
    sections = re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]
    linked = {section: re.findall(r"\]\(([\w./-]+)\.md\)", section) for section in sections}
    named = {page for pages in linked.values() for page in pages}
    unnamed = [page.stem for page in sorted(DOCS.glob("*.md")) if page.stem not in named]
    for section, pages in linked.items():
        caption = section.splitlines()[0]
        more = [page for page in unnamed if page != "index"] if caption.startswith("How") else []
        lines = "\n".join(dict.fromkeys(pages + more))
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n"


def setup(app: Sphinx) -> None:
    app.connect("source-read", navigation)
    app.connect("env-get-outdated", lambda *_: [root_doc])  # pages may have come or gone
