"""Derivations: a number together with the calculation that gives it, as text, as LaTeX, and as something that can be evaluated."""

from __future__ import annotations

from enum import Enum
from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.errors import UnknownNameError, did_you_mean, shorten
from cnnbudget.tables import Column, html_table, text_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Calculation",
    "Derived",
    "Explanation",
    "ceiling",
    "difference",
    "floor",
    "maximum",
    "number",
    "product",
    "total",
]

_SHOWN = 12


class _Operator(Enum):
    NUMBER = "number"
    SUM = "sum"
    DIFFERENCE = "difference"
    PRODUCT = "product"
    FLOOR = "floor"
    CEILING = "ceil"
    MAXIMUM = "max"


@frozen
class Calculation:
    r"""A calculation with ints.

    Make one with :func:`~cnnbudget.derivations.number`, :func:`~cnnbudget.derivations.total` and their like.

    Example:
        >>> found = total(floor(difference(total(56, 1, 1), 3), 2), 1)
        >>> print(found, "=", found.value)
        floor((56 + 1 + 1 - 3) / 2) + 1 = 28
        >>> print(found.latex())
        \left\lfloor \frac{56 + 1 + 1 - 3}{2} \right\rfloor + 1
    """

    _operator: Enum
    _parts: tuple[Any, ...]

    @property
    def value(self) -> int:
        """What it gives, exactly."""
        if self._operator is _Operator.NUMBER:
            return int(self._parts[0])
        values = [part.value for part in self._parts]
        if self._operator is _Operator.SUM:
            return int(sum(values))
        if self._operator is _Operator.PRODUCT:
            return int(prod(values))
        if self._operator is _Operator.MAXIMUM:
            return int(max(values))
        first, second = values
        if self._operator is _Operator.DIFFERENCE:
            return int(first - second)
        return int(first // second if self._operator is _Operator.FLOOR else -(-first // second))

    @property
    def is_number(self) -> bool:
        """Whether nothing is calculated."""
        return self._operator is _Operator.NUMBER

    def __str__(self) -> str:
        return _write(self, _TEXT)

    def latex(self) -> str:
        """The calculation for LaTeX's mathematical mode; a long sum shows its first and last terms."""
        return _write(self, _TEX)


@frozen
class _Style:
    """How a calculation is written."""

    thousands: str
    times: str
    fraction: str
    bar: bool  # whether a fraction's bar makes brackets needless
    largest: str
    brackets: str
    most: int | None  # terms of a sum that are shown


_TEXT = _Style(",", " x ", "{0}({1} / {2})", False, "max({})", "({})", None)
_TEX = _Style(
    "{,}",
    r" \times ",
    r"\left\l{0} \frac{{{1}}}{{{2}}} \right\r{0}",
    True,
    r"\max\left({}\right)",
    r"\left({}\right)",
    _SHOWN,
)


def _write(each: Calculation, style: _Style) -> str:
    """Writes a calculation: its parts first, which go as deep as a formula does."""
    operator, parts = each._operator, each._parts  # noqa: SLF001  # the two belong together
    if operator is _Operator.NUMBER:
        return f"{parts[0]:,}".replace(",", style.thousands)

    def inner(part: Calculation, *loose: _Operator) -> str:
        text = _write(part, style)
        negative = part.is_number and part.value < 0
        return style.brackets.format(text) if negative or part._operator in loose else text  # noqa: SLF001  # as above

    sums = (_Operator.SUM, _Operator.DIFFERENCE)
    if operator is _Operator.PRODUCT:
        return style.times.join([inner(part, *sums) for part in parts])
    if operator is _Operator.MAXIMUM:
        return style.largest.format(", ".join([_write(part, style) for part in parts]))
    if operator is _Operator.SUM:
        terms = [inner(part) for part in parts]
        if style.most is not None and len(terms) > style.most:
            terms = [*terms[: style.most - 2], r"\cdots", terms[-1]]
        return " + ".join(terms)
    first, second = parts
    if operator is _Operator.DIFFERENCE:
        return f"{inner(first)} - {inner(second, *sums)}"
    loose = () if style.bar else (*sums, _Operator.PRODUCT)
    return style.fraction.format(operator.value, inner(first, *loose), inner(second, *loose))


def number(value: int) -> Calculation:
    """A number that is given."""
    return Calculation(_Operator.NUMBER, (value,))


def _of(operator: _Operator, parts: Iterable[Calculation | int]) -> Calculation:
    calculations = tuple([part if isinstance(part, Calculation) else number(part) for part in parts])
    return calculations[0] if len(calculations) == 1 else Calculation(operator, calculations)


def total(*parts: Calculation | int) -> Calculation:
    """The sum of one part or more."""
    return _of(_Operator.SUM, parts)


def product(*parts: Calculation | int) -> Calculation:
    """The product of one factor or more.

    Example:
        >>> print(product(3, total(2, 1)))
        3 x (2 + 1)
    """
    return _of(_Operator.PRODUCT, parts)


def difference(first: Calculation | int, second: Calculation | int) -> Calculation:
    """The first less the second."""
    return _of(_Operator.DIFFERENCE, (first, second))


def floor(above: Calculation | int, below: Calculation | int) -> Calculation:
    """A quotient, rounded down."""
    return _of(_Operator.FLOOR, (above, below))


def ceiling(above: Calculation | int, below: Calculation | int) -> Calculation:
    """A quotient, rounded up."""
    return _of(_Operator.CEILING, (above, below))


def maximum(*parts: Calculation | int) -> Calculation:
    """The largest of one part or more."""
    return _of(_Operator.MAXIMUM, parts)


@frozen
class Derived:
    """One number and how it comes about.

    Args:
        quantity: What it is, for example ``"parameters"``.
        calculation: The calculation with the numbers substituted.
        formula: The same in words.
        source: Whose rule it is.
    """

    quantity: str
    calculation: Calculation
    formula: str = ""
    source: str = ""

    @property
    def value(self) -> int:
        """The number."""
        return self.calculation.value

    def __str__(self) -> str:
        if self.calculation.is_number:
            return f"{self.quantity} = {self.calculation}"
        return f"{self.quantity} = {self.calculation} = {self.value:,}"

    def latex(self) -> str:
        """The equation for LaTeX, with an ``&`` before its first equals sign."""
        text = "".join(_LATEX.get(sign, sign) for sign in self.quantity)
        end = "" if self.calculation.is_number else f" = {number(self.value).latex()}"
        return rf"\text{{{text}}} &= {self.calculation.latex()}{end}"


_LATEX = {sign: f"\\{sign}" for sign in "#$%&_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_COLUMNS = (Column("number"), Column("derivation"), Column("rule"), Column("source"))


def _cut(text: str, most: int = 72) -> str:
    """A cell of the table; :meth:`Explanation.rows` has the whole of it."""
    return text if len(text) <= most else f"{text[: most - 25]} ... {text[-20:]}"


@frozen
class Explanation:
    """Where numbers come from, one derivation each.

    Args:
        subject: What is explained.
        derivations: The numbers.
        notes: What else there is to say.
    """

    subject: str
    derivations: tuple[Derived, ...] = field(repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __iter__(self) -> Iterator[Derived]:
        return iter(self.derivations)

    def __len__(self) -> int:
        return len(self.derivations)

    def __getitem__(self, quantity: str) -> Derived:
        """The derivation of a number, by what it is.

        Raises:
            UnknownNameError: If there is none; the error guesses which was meant.
        """
        for derived in self.derivations:
            if derived.quantity == quantity:
                return derived
        known = [derived.quantity for derived in self.derivations]
        raise UnknownNameError(
            "nothing like this is explained", got=shorten(quantity), hint=did_you_mean(quantity, known)
        )

    def rows(self) -> list[dict[str, Any]]:
        """The derivations as data: one dict each, with ``number``, ``value``, ``derivation``, ``rule``, ``source``."""
        return [
            {
                "number": derived.quantity,
                "value": derived.value,
                "derivation": str(derived.calculation),
                "rule": derived.formula,
                "source": derived.source,
            }
            for derived in self.derivations
        ]

    def latex(self) -> str:
        """The derivations as an ``align*`` environment of LaTeX (package ``amsmath``)."""
        lines = " \\\\\n".join([derived.latex() for derived in self.derivations])
        return f"\\begin{{align*}}\n{lines}\n\\end{{align*}}"

    def _cells(self) -> list[tuple[object, ...]]:
        cells: list[tuple[object, ...]] = []
        for derived in self.derivations:
            end = "" if derived.calculation.is_number else f" = {derived.value:,}"
            text = _cut(str(derived.calculation))
            cells.append((_cut(derived.quantity), f"{text}{end}", _cut(derived.formula), _cut(derived.source)))
        return cells

    def __str__(self) -> str:
        return "\n".join([self.subject, text_table(_COLUMNS, self._cells(), limit=60), *self.notes])

    def _repr_html_(self) -> str:
        import html  # notebooks only

        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p>{html.escape(self.subject)}</p>{html_table(_COLUMNS, self._cells(), limit=60)}{notes}"
