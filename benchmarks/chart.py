"""Small charts as SVG: bars, and lines over a logarithmic axis."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 760
_COLOURS = ("#9aa5b1", "#2563eb", "#f59e0b", "#10b981", "#8b5cf6")
_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#1f2933}.title{font-weight:600;font-size:15px}"
    ".axis{stroke:#cbd2d9;stroke-width:1}.faint{fill:#616e7c}</style>"
)


def bars(title: str, groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """Return a chart of horizontal bars. `groups` is group name -> bar name -> value."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    largest = max((value for group in groups.values() for value in group.values()), default=1.0) or 1.0
    left, right, y, parts = 250, 90, 44, [f'<text class="title" x="10" y="24">{escape(title)}, {escape(unit)}</text>']
    for group, values in groups.items():
        for index, (name, value) in enumerate(values.items()):
            label = name if len(groups) == 1 or not group else f"{group} - {name}" if index == 0 else name
            width = (WIDTH - left - right) * value / largest
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            parts += [
                f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>',
                f'<rect x="{left}" y="{y}" width="{max(width, 1):.1f}" height="17" rx="2" fill="{colour}"/>',
                f'<text class="faint" x="{left + width + 6:.1f}" y="{y + 13}">{short(value)}</text>',
            ]
            y += 22
        y += 8
    return _svg(y + 4, parts)


def lines(
    title: str, curves: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str, *, log_y: bool = False
) -> str:
    """Return a chart of curves through points (x, y), over a logarithmic x axis."""
    points = [point for curve in curves.values() for point in curve]
    left, right, top, bottom, height = 70, 30, 64, 48, 330
    first, last = (math.log10(edge(x for x, _ in points)) for edge in (min, max))
    highest = max(y for _, y in points) * 1.1
    lowest = min(y for _, y in points) / 1.5 if log_y else 0.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - first) / ((last - first) or 1)
        up = math.log(y / lowest) / math.log(highest / lowest) if log_y else y / highest
        return left + across * (WIDTH - left - right), height - bottom - up * (height - top - bottom)

    parts = [
        f'<text class="title" x="10" y="24">{escape(title)}</text>',
        f'<text class="faint" x="10" y="48">{escape(y_title)}</text>',
        f'<text class="faint" x="{(left + WIDTH - right) / 2}" y="{height - 8}" text-anchor="middle">'
        f"{escape(x_title)}</text>",
    ]
    for step in range(5):
        y = lowest * (highest / lowest) ** (step / 4) if log_y else highest * step / 4
        at = place(10**first, y)[1]
        parts += [
            f'<line class="axis" x1="{left}" x2="{WIDTH - right}" y1="{at:.1f}" y2="{at:.1f}"/>',
            f'<text class="faint" x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{short(y)}</text>',
        ]
    for x in sorted({x for x, _ in points}):
        at = place(x, highest)[0]
        parts.append(
            f'<text class="faint" x="{at:.1f}" y="{height - bottom + 18}" text-anchor="middle">{x:,.0f}</text>'
        )
    for index, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        placed = [place(*point) for point in sorted(curve)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        at = WIDTH - right - 190 * (len(curves) - index)
        parts += [
            f'<rect x="{at}" y="38" width="12" height="12" fill="{colour}"/>',
            f'<text x="{at + 18}" y="48">{escape(name)}</text>',
        ]
    return _svg(height, parts)


def short(value: float) -> str:
    """Return a number as tables and plots show it, with about three significant digits."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _svg(height: int, parts: Sequence[str]) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    background = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', _STYLE, background, *parts, "</svg>", ""])
