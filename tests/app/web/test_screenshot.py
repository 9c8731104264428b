"""The picture of the page in the documents: `PAGE_PICTURE=docs/page.png` has it made anew."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from proof.harness import ROOT
from tests.app.web.browser import Tab

MOST_BYTES = 150_000
COLORS = 160
FILE = os.environ.get("PAGE_PICTURE", "")


@pytest.mark.skipif(not FILE, reason="PAGE_PICTURE names no file to write")
def test_the_page_is_pictured(tab: Tab) -> None:
    tab.prefer("light")
    tab.resize(1100, 800)
    tab.run("document.querySelector('[name=boundaries]').click()")
    tab.run("sample.click()")
    tab.wait("document.querySelectorAll('.point').length === 68")
    tab.run("(zoom.value = 2.5, zoom.dispatchEvent(new Event('input')))")
    picture = Image.open(io.BytesIO(tab.picture())).convert("RGB")
    marks = tab.run("[...legend.querySelectorAll('path')].map((mark) => mark.getAttribute('fill'))")
    Path(FILE).write_bytes(_small_png(picture, marks))


def test_the_picture_is_small() -> None:
    assert (ROOT / "docs" / "page.png").stat().st_size <= MOST_BYTES


def _small_png(picture: Image.Image, kept: list[str]) -> bytes:
    """With a palette, a fifth of the bytes; it holds the colours of the marks, which are rare."""
    common = picture.quantize(COLORS - len(kept)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*common, *(part for name in kept for part in ImageColor.getrgb(name))])
    held = io.BytesIO()
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(held, "PNG", optimize=True)
    return held.getvalue()
