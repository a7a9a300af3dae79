"""Curves as an SVG file, without a library."""

from __future__ import annotations

from html import escape

COLOURS = ("#7f7f7f", "#e69f00", "#56b4e9", "#0072b2", "#009e73", "#cc79a7")


def chart(curves: dict[str, list[float]], title: str, width: int = 640, height: int = 400) -> str:
    """Accuracy in percent by round."""
    left, top, right, bottom = 50, 40, width - 150, height - 45
    last = max(1, *(len(curve) - 1 for curve in curves.values()))

    def at(turn: float, value: float) -> str:
        return f"{left + (right - left) * turn / last:.1f},{bottom - (bottom - top) * value / 100:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for value in range(0, 101, 20):
        x, y = at(0, value).split(",")
        parts.append(f'<line x1="{x}" y1="{y}" x2="{right}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{float(y) + 4}" text-anchor="end">{value}</text>')
    for turn in range(0, last + 1, max(1, last // 10)):
        x = at(turn, 0).split(",")[0]
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{turn}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{height - 8}" text-anchor="middle">round (accuracy in %)</text>')
    for place, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[place % len(COLOURS)]
        points = " ".join(at(turn, value) for turn, value in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{right + 10}" y="{top + 14 + 18 * place}" fill="{colour}">{escape(name)} {curve[-1]:.1f}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
