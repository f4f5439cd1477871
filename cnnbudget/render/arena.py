"""A picture of an arena: every storage a rectangle, from its first step to its last, from its offset to its end."""

from __future__ import annotations

import html

from cnnbudget.dtypes import Role
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.memory.arena import ArenaReport
from cnnbudget.memory.profile import MemoryProfile
from cnnbudget.units import Bytes

__all__ = ["arena_svg"]

_WIDTH, _HEIGHT = 720, 320
_LEFT, _TOP, _BOTTOM = 76, 10, 34
# Half-transparent fills on whatever lies behind, strokes and letters in a grey that both light and dark pages set off.
_FILLS = {
    Role.ACTIVATION: "#4e79a7",
    Role.EXTRA: "#f28e2b",
    Role.ACTIVATION_GRADIENT: "#59a14f",
    Role.PARAMETER_GRADIENT: "#b07aa1",
    Role.WORKSPACE: "#9c755f",
}
_INK = "#808080"


def arena_svg(profile: MemoryProfile) -> str:
    """Draws the arena of a profile as inline SVG: steps to the right, offsets upwards, a rectangle for every storage.

    Every rectangle has its name, role, bytes, offset and steps as a tooltip; the dashed line is the arena's height. No script, no
    style sheet.

    Args:
        profile: A profile whose scenario has an :class:`~cnnbudget.Arena` for an allocator.

    Returns:
        An ``<svg>`` element.

    Raises:
        InvalidTypeError: If it is no profile.
        InvalidValueError: If its allocator lays out no arena.

    Example:
        >>> from cnnbudget import Arena, Conv, Inference, Net
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3), Conv(2, 3))
        >>> picture = arena_svg(net.profile(Inference(allocator=Arena(alignment=16))))
        >>> picture.count("<rect"), picture.startswith("<svg")
        (3, True)
    """
    if not isinstance(profile, MemoryProfile):
        raise InvalidTypeError(
            "arena_svg() takes a profile", got=shorten(profile), expected="what profile() or Net.profile() returns"
        )
    report = profile.allocation
    if not isinstance(report, ArenaReport):
        raise InvalidValueError(
            "arena_svg() needs an arena",
            got=shorten(profile.scenario.allocator),
            expected="a scenario with allocator=Arena()",
        )
    lifetimes, batch = profile.lifetimes, profile.scenario.device_batch
    steps, height = len(profile.steps), max(1, int(report.height))
    across, up = (_WIDTH - _LEFT - 10) / steps, (_HEIGHT - _TOP - _BOTTOM) / height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img"',
        f'font-family="sans-serif" font-size="11" fill="{_INK}">',
        f"<title>Arena of {report.height} over {steps} steps</title>",
    ]
    for number, offset in sorted(report.offsets.items()):
        storage = lifetimes.schedule.storages[number]
        birth, death, size = lifetimes.births[number], lifetimes.deaths[number], storage.byte_count(batch)
        x, wide = _LEFT + birth * across, (death - birth) * across
        y, high = _TOP + (height - offset - size) * up, size * up
        first, last = profile.steps[birth], profile.steps[death - 1]
        text = f"{storage.name}: {storage.role.value}, {size:,} bytes at {offset:,}, from {first} to {last}"
        fill = _FILLS.get(storage.role, _INK)
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{fill}" fill-opacity="0.6" '
            f'stroke="{_INK}" stroke-width="0.5"><title>{html.escape(text)}</title></rect>'
        )
        if high >= 12 and wide >= 7 * len(storage.name):
            parts.append(f'<text x="{x + 3:.1f}" y="{y + high / 2 + 4:.1f}">{html.escape(storage.name)}</text>')
    bottom = _HEIGHT - _BOTTOM
    parts += [
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - 10}" fill="none" stroke="{_INK}"/>',
        f'<path d="M{_LEFT} {_TOP}H{_WIDTH - 10}" stroke="{_INK}" stroke-dasharray="4 3"/>',
        f'<text x="{_LEFT - 6}" y="{_TOP + 9}" text-anchor="end">{html.escape(str(Bytes(report.height)))}</text>',
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{_WIDTH - 10}" y="{bottom + 16}" text-anchor="end">{steps} steps</text>',
        "</svg>",
    ]
    return "\n".join(parts)
