"""Plots without a plotting library: grouped horizontal bars with whiskers, as one SVG text."""

from html import escape

COLOURS = ["#8c8c8c", "#4c78a8", "#e45756", "#f2a65a", "#54a24b", "#b279a2", "#9d755d", "#222222"]


def bars(title, groups, series, values, mark=None, unit=""):
    """`values[group][series]` is (middle, least, most) or None; `mark` draws a line at that value."""
    left, width, bar, gap, top = 150, 560, 13, 12, 64 + 16 * ((len(series) + 3) // 4)
    known = [v for row in values.values() for v in row.values() if v]
    # A single wild round must not flatten every other bar: whiskers are clipped at the edge of the plot.
    limit = max([v[0] for v in known] + [mark or 0]) * 1.15 or 1.0
    height = top + sum(gap + bar * len(series) for _ in groups) + 30

    def x(value):
        return left + width * min(value, limit) / limit

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="100%" height="100%" fill="white"/><text x="12" y="22" font-size="15">{escape(title)}</text>']
    for i, name in enumerate(series):
        cx, cy = 12 + 180 * (i % 4), 40 + 16 * (i // 4)
        out.append(f'<rect x="{cx}" y="{cy - 9}" width="10" height="10" fill="{COLOURS[i % len(COLOURS)]}"/>'
                   f'<text x="{cx + 15}" y="{cy}">{escape(name)}</text>')
    y = top
    for group in groups:
        out.append(f'<text x="{left - 8}" y="{y + bar * len(series) / 2 + 4}" text-anchor="end">{escape(group)}</text>')
        for i, name in enumerate(series):
            value = values.get(group, {}).get(name)
            if value:
                middle, least, most = value
                out.append(f'<rect x="{left}" y="{y}" width="{x(middle) - left:.1f}" height="{bar - 2}" '
                           f'fill="{COLOURS[i % len(COLOURS)]}"/>')
                out.append(f'<line x1="{x(least):.1f}" x2="{x(most):.1f}" y1="{y + bar / 2 - 1}" '
                           f'y2="{y + bar / 2 - 1}" stroke="black"/>')
                out.append(f'<text x="{max(x(middle), x(most)) + 4:.1f}" y="{y + bar - 4}" font-size="10">{middle:.2f}{unit}</text>')
            y += bar
        y += gap
    if mark is not None:
        out.append(f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{top - 8}" y2="{y}" stroke="black" stroke-dasharray="4 3"/>')
    out.append("</svg>\n")
    return "\n".join(out)
