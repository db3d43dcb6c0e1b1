"""A sheet to draw boxes, arrows and words on, written out as SVG."""

from __future__ import annotations

import html
from collections.abc import Iterable

__all__ = ["Canvas"]

# The sheet brings its own background, so a picture is readable on a page of the other palette.
_STYLE = """\
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.paper{fill:#fbfbfc;stroke:#d5d9df}.text{fill:#24292f}.strong{fill:#24292f;font-weight:600}
.faint{fill:#5b646e;font-size:12px}.code{fill:#24292f;font-family:ui-monospace,Menlo,monospace}
.box{fill:#fff;stroke:#aeb6c0}.blue{fill:#dcecf9;stroke:#2f81c1}.gold{fill:#fbeccf;stroke:#c98a1b}
.red{fill:#fbdfdc;stroke:#cf3a30}.violet{fill:#e8dff7;stroke:#8560c5}
.zone{fill:#f2f4f7;stroke:#c9d0d9;stroke-dasharray:4 3}
.line{fill:none;stroke:#5b646e;stroke-width:1.4}.dashed{stroke-dasharray:5 4}
.head{fill:#5b646e}.over{paint-order:stroke;stroke:#fbfbfc;stroke-width:4px}
@media(prefers-color-scheme:dark){.paper{fill:#161b22;stroke:#343b45}
.text,.strong,.code{fill:#e6edf3}.faint{fill:#a3adb8}.box{fill:#21262d;stroke:#5b6572}
.blue{fill:#16344d;stroke:#4a9fe0}.gold{fill:#45350f;stroke:#d29a2d}
.red{fill:#4d1f1c;stroke:#f0655b}.violet{fill:#33264d;stroke:#a586e0}
.zone{fill:#1b2129;stroke:#434c57}.line{stroke:#9aa4af}.head{fill:#9aa4af}
.over{stroke:#161b22}}"""

_HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
    'markerHeight="8" orient="auto-start-reverse"><path class="head" d="M0 0L8 4L0 8z"/>'
    "</marker></defs>"
)


class Canvas:
    """Collects what is drawn; `str` of it is the picture."""

    def __init__(self, width: int, height: int, about: str) -> None:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(about)}" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        )
        inner = f'x=".5" y=".5" width="{width - 1}" height="{height - 1}"'
        paper = f'<rect class="paper" {inner} rx="8"/>'
        self._parts = [head, f"<style>{_STYLE}</style>{_HEAD}", paper]

    def __str__(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])

    def box(
        self,
        place: tuple[float, float, float, float],
        *lines: str,
        kind: str = "box",
        first: str = "strong",
    ) -> None:
        """Draw a box at `(x, y, width, height)` with lines of text in its middle."""
        x, y, width, height = place
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            'rx="6"/>'
        )
        top = y + height / 2 - 9 * (len(lines) - 1)
        for number, line in enumerate(lines):
            shade = first if number == 0 else "faint"
            self._write(x + width / 2, top + 18 * number, line, shade, "middle")

    def zone(self, place: tuple[float, float, float, float], title: str) -> None:
        """Draw a dashed frame with its name at the top left."""
        self.box(place, kind="zone")
        self.text(place[0] + 12, place[1] + 16, title, shade="strong")

    def text(
        self, x: float, middle: float, said: str, *, shade: str = "text", anchor: str = "start"
    ) -> None:
        """Write one line, over whatever is there."""
        self._write(x, middle, said, f"{shade} over", anchor)

    def _write(self, x: float, middle: float, said: str, shade: str, anchor: str) -> None:
        self._parts.append(
            f'<text class="{shade}" x="{x:g}" y="{middle + 4.5:g}" text-anchor="{anchor}">'
            f"{html.escape(said)}</text>"
        )

    def arrow(
        self,
        *points: tuple[float, float],
        said: str = "",
        at: tuple[float, float] | None = None,
        dashed: bool = False,
        anchor: str = "middle",
    ) -> None:
        """Draw an arrow through these points, with words at a place of its own or above it."""
        way = "L".join(f"{x:g} {y:g}" for x, y in points)
        dash = " dashed" if dashed else ""
        self._parts.append(f'<path class="line{dash}" d="M{way}" marker-end="url(#head)"/>')
        if said:
            (x1, y1), (x2, y2) = points[0], points[-1]
            x, y = at or ((x1 + x2) / 2, (y1 + y2) / 2 - 9)
            self.text(x, y, said, shade="faint", anchor=anchor)

    def line(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Draw a line without a head."""
        way = "L".join(f"{x:g} {y:g}" for x, y in points)
        dash = " dashed" if dashed else ""
        self._parts.append(f'<path class="line{dash}" d="M{way}"/>')

    def paragraph(self, x: float, top: float, lines: Iterable[str]) -> None:
        """Write lines below each other."""
        for number, line in enumerate(lines):
            self.text(x, top + 18 * number, line, shade="faint")
