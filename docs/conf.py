"""Sphinx's configuration: nothing here reaches the network, and every warning is an error."""

import doctest
import re
import sys
from importlib import metadata

project = "cnnbudget"
author = "The cnnbudget developers"
copyright = f"2026, {author}"
release = version = metadata.version("cnnbudget")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
default_role = "py:obj"  # so that `name` is checked as a cross-reference
python_display_short_literal_types = True
maximum_signature_line_length = 88

# Without intersphinx, names of other projects have no page to point to. Names of cnnbudget
# itself are never listed here: one that does not resolve is a mistake.
_elsewhere = "|".join(re.escape(name) for name in sorted({*sys.stdlib_module_names, "attr", "attrs", "numpy"}))
nitpick_ignore_regex = [
    (r"py:.*", rf"({_elsewhere})(\..+)?"),  # the standard library, attrs and numpy
    (r"py:.*", r"hypothesis\..+"),  # the strategies that cnnbudget.testing returns
]

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes listed in a class's docstring do not collide with documented members

# Sphinx's default also ignores an exception's message; the messages are part of the documentation.
doctest_default_flags = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1

html_theme = "furo"
html_title = f"{project} {release}"
