"""Sphinx builds the site from these pages: `sphinx-build -n -W -b html docs docs/_build/html`."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import actorflow_sphinx

project = "actorflow"
author = "the actorflow authors"
copyright = "the actorflow authors"  # noqa: A001 - Sphinx reads this name
release = version = importlib.metadata.version("actorflow")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "actorflow_sphinx",
]
exclude_patterns = ["_build"]
templates_path: list[str] = []

# ── Pages ────────────────────────────────────────────────────────────────────────────────────

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # `page.md#a-heading` means the same here as on GitHub
highlight_language = "text"

# ── Docstrings ───────────────────────────────────────────────────────────────────────────────

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # a default is shown as the source has it
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
default_role = "known"  # single backticks: a link where a public name is meant, else code

# The inventory of the standard library that annotations need is made by `actorflow_sphinx`: a
# build needs no network, and its links lead to docs.python.org all the same.
intersphinx_mapping = {"python": ("https://docs.python.org/3", actorflow_sphinx.inventory())}

nitpicky = True
# Annotations name what callers get and hand on, and never make or import.
INTERNAL = [
    *(
        "Attempt",
        "Body",
        "Cancel",
        "Case",
        "ChangePause",
        "Changed",
        "Commit",
        "Draw",
        "Edit",
        "Either",
        "Envelope",
        "Fault",
        "Given",
    ),
    *(
        "Hangs",
        "Keeper",
        "Lives",
        "Missed",
        "Names",
        "OnConflict",
        "Once",
        "Overlap",
        "Parameter",
        "Raises",
        "Real",
        "Report",
        "Returns",
        "Runtime",
    ),
    *(
        "Sharing",
        "SimulatedSystem",
        "StepOptions",
        "Unstorable",
        "Watch",
        "Witness",
        "WorkflowPlan",
    ),
]
nitpick_ignore_regex = [
    ("py:.*", rf"(.*\.)?({'|'.join(INTERNAL)})"),
    ("py:class", r"actorflow\.definition\.workflow\.F"),  # a type variable
    ("py:class", r"actorflow\.run\.event_stream\.Source"),  # where a stream has its events from
    # Other distributions: their inventories would need a network.
    ("py:.*", r"(hypothesis|pytest|structlog)\..*"),
    ("py:class", r"sa\.Connection|Session"),
]

# ── The site ─────────────────────────────────────────────────────────────────────────────────

html_theme = "furo"
html_title = f"actorflow {release}"
html_static_path = ["_static"]
html_css_files = ["actorflow.css"]
html_show_sourcelink = False
html_copy_source = False
