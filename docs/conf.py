"""Sphinx's configuration: nothing here reaches the network, and every warning is an error."""

import doctest
import inspect
import re
import sys
from importlib import metadata
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.util import logging

import cnnbudget
from cnnbudget import arena_svg, zoo

logger = logging.getLogger(__name__)

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
# Names in annotations that Sphinx cannot follow, as they are written there.
nitpick_ignore = [
    ("py:class", "Number"),  # an alias for int | Fraction
    ("py:class", "np.ndarray"),  # numpy, by its usual short name
    ("py:class", "SearchStrategy"),  # hypothesis
    ("py:class", "Shape"),  # an alias for tuple[int, ...]
    ("py:class", "Axes"),  # an alias for int | tuple[int, ...]
    ("py:class", "Padding"),  # an alias for str | int | tuple[int, ...] | tuple[tuple[int, int], ...]
    ("py:class", "Part"),  # an alias for Layer | Structure
    ("py:class", "Progress"),  # an alias for Callable[[int, int], object]
    ("py:class", "Counts"),  # an alias for tuple[int | None, int | None]
    ("py:class", "Root"),  # an alias for tuple[Input, ...] | Network; only in the signature of Net itself
    ("py:class", "nn.Module"),  # torch's, by its usual short name
    ("py:class", "PathLike"),  # os.PathLike, as it is imported
    ("py:class", "HasNetwork"),  # the protocol of what leads to a network, as Net does
    ("py:class", "Source"),  # an alias for a file's path, its bytes or its text
    ("py:class", "Rule"),  # an alias for a function from what a file says to a layer
    ("py:class", "T"),  # the type of a visitor's answers
    ("py:class", "cnnbudget.analysis.visitor.T"),  # as above
    ("py:obj", "cnnbudget.analysis.visitor.T"),  # as above
    # Private bases of public layers: they share code, not meaning, and nothing else may derive from them.
    *[
        ("py:class", f"cnnbudget.layers.{base}")
        for base in (
            "activation._AlongAxis",
            "activation._FromCopy",
            "activation._FromEither",
            "activation._FromInput",
            "activation._FromOutput",
            "activation._Overwriting",
            "merge._Chain",
            "norm._Normaliser",
            "norm._Tracking",
            "pool._AdaptivePool",
            "pool._GlobalPool",
            "rearrange._Copy",
            "reshape._View",
        )
    ],
]

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes listed in a class's docstring do not collide with documented members

# Sphinx's default also ignores an exception's message; the messages are part of the documentation.
doctest_default_flags = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1


def every_public_name_has_an_entry(_app, env):
    """Warn, and so fail, if a name of cnnbudget.__all__ or a network of the zoo is missing from the reference."""
    entries = env.get_domain("py").objects
    for name in [*cnnbudget.__all__, *[f"zoo.{name}" for name in zoo.names()]]:
        if not name.startswith("__") and f"cnnbudget.{name}" not in entries:
            logger.warning("cnnbudget.%s is public and missing from docs/reference.rst", name)


def every_layer_is_described(app, _env):
    """Likewise for a layer that the tables of the page on layers do not mention."""
    page = (Path(app.srcdir) / "layers.rst").read_text("utf-8")
    for name in cnnbudget.__all__:
        kind = getattr(cnnbudget, name)
        if isinstance(kind, type) and issubclass(kind, cnnbudget.Layer) and not kind.__module__.endswith(".base"):
            if f"`{name}`" not in page:
                logger.warning("cnnbudget.%s is a layer and missing from docs/layers.rst", name)


def describe_cached_properties(kind):
    """Give a class its cached properties' docstrings back, as slots: attrs turns the properties into bare slots."""
    functions = (getattr(vars(kind).get("__getattr__"), "__defaults__", None) or ({},))[0]
    shown = {name: function for name, function in functions.items() if not name.startswith("_")}
    if shown:
        kind.__slots__ = {name: inspect.getdoc(shown[name]) if name in shown else None for name in kind.__slots__}


class ArenaPicture(Directive):
    """A picture of an arena, drawn when the page is built: of the profile that the last line of the content names."""

    has_content = True

    def run(self):
        names = vars(cnnbudget) | {name: getattr(cnnbudget, name) for name in cnnbudget.__all__}
        exec("\n".join(self.content), names)  # noqa: S102  # code of these pages, as in their examples
        last = self.content[-1].partition(" = ")[0]
        return [nodes.raw("", arena_svg(names[last]), format="html")]


def setup(app):
    """Sphinx calls this."""
    app.add_directive("arena-picture", ArenaPicture)
    for kind in filter(inspect.isclass, (getattr(cnnbudget, name) for name in cnnbudget.__all__)):
        describe_cached_properties(kind)
    app.connect("env-check-consistency", every_public_name_has_an_entry)
    app.connect("env-check-consistency", every_layer_is_described)


html_theme = "furo"
html_title = f"{project} {release}"
