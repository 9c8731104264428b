"""Landmarks as a drawing to lay over the photograph: SVG, in the pixels of the frame."""

from itertools import cycle
from xml.sax.saxutils import quoteattr

import numpy as np

from app.pipeline import AlignedPhotograph
from lwbafa.imaging.draw import GROUP_COLORS
from lwbafa.imaging.photograph import Frame

RADIUS = 0.012
"""Of a point, over the longer side of the face's landmarks."""


def drawing(aligned: AlignedPhotograph, frame: Frame) -> str:
    """A document of the frame's size: a group for each face and in it for each group of points.

    Every point has a title: its group, number and score.
    """
    width, height = aligned.photograph.size(frame)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">'
    ]
    for number, face in enumerate(aligned.faces):
        # SVG counts from the picture's edge, the answer from the first pixel's middle.
        points = aligned.photograph.points_from_upright(face.landmarks, frame) + 0.5
        radius = max(0.5, RADIUS * float(np.ptp(points, axis=0).max()))
        parts.append(f'<g id="face-{number}" stroke="#000" stroke-width="{radius / 4:.3g}">')
        for color, (name, indices) in zip(cycle(GROUP_COLORS), face.markup.groups.items()):
            parts.append(f'<g class={quoteattr(name)} fill="#{bytes(color).hex()}">')
            for index in indices:
                x, y = points[index]
                score = face.scores[index]
                says = f"{name} {index}" + ("" if np.isnan(score) else f", score {score:.2f}")
                parts.append(
                    f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:.3g}">'
                    f"<title>{says}</title></circle>"
                )
            parts.append("</g>")
        parts.append("</g>")
    return "".join([*parts, "</svg>"])
