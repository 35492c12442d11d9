"""
The documentation site: `sphinx-build -n -W --keep-going -c docs . docs/_build`.

The source is the repository as it stands, so that each link between pages works on a Git host as
well as here.
"""

from __future__ import annotations

project = "flowspan"
author = "the flowspan authors"
root_doc = "docs/index"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
include_patterns = ["README.md", "RATIONALE.md", "CHANGELOG.md", "benchmarks/README.md", "docs/**"]
exclude_patterns = ["docs/_build"]

html_theme = "furo"
html_title = "flowspan"

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
