"""What of a request reaches the network: its boxes, and how much work it is."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.api.parameters import _boxes
from app.errors import InvalidParameter
from app.pipeline import AlignRequest, _size
from lwbafa.aligner import LARGEST_BOX, refuse_misplaced
from lwbafa.errors import InvalidBox
from lwbafa.imaging.crop import Crop
from lwbafa.imaging.header import ImageHeader
from lwbafa.imaging.photograph import Frame, Photograph
from lwbafa.types import FaceBox

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(anything.map(json.dumps) | st.text())
@example("[" * 10_000)
@example('[[1, 2, 3, 4]]" ')
@example("[[NaN, 2, 3, Infinity]]")
@example("[[1, 2, 3, 1" + "0" * 400 + "]]")
def test_whatever_stands_in_boxes_is_boxes_or_names_the_parameter(text: str) -> None:
    try:
        boxes = _boxes(text, 8)
    except InvalidParameter as error:
        assert error.detail.startswith("boxes")  # noqa: PT017
        return
    assert boxes is not None
    assert 1 <= len(boxes) <= 8
    assert np.isfinite(boxes).all()
    assert all(min(box.width, box.height) >= 1 for box in boxes)


places = st.floats(-1e300, 1e300) | st.floats(-100, 100)
lengths = st.floats(1, 1e300) | st.floats(1, 500)


@settings(max_examples=200)
@given(
    st.builds(FaceBox, places, places, lengths, lengths, st.floats(-360, 360)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from(range(1, 9)),
    st.sampled_from(Frame),
)
@example(FaceBox(16, 16, 3, 3, 26), (16, 16), 1, Frame.upright)
def test_a_box_is_refused_or_can_be_cut_out_in_either_frame(
    box: FaceBox, size: tuple[int, int], exif: int, frame: Frame
) -> None:
    header = ImageHeader("png", *size, exif)
    photograph = Photograph(header, lambda _: np.empty((0, 0, 3), np.uint8), (1,))
    width, height = photograph.upright_size
    pixels = np.full((height, width, 3), 255, np.uint8)
    upright = photograph.box_to_upright(box, frame)
    try:
        refuse_misplaced([upright], photograph.upright_size)
    except InvalidBox as error:
        assert str(error).startswith("boxes[0] ")  # noqa: PT017
        return
    assert max(upright.width, upright.height) <= LARGEST_BOX * max(size)
    crop = Crop.around(upright)
    assert crop.cut(pixels, 256).any(), "nothing of the picture is in the crop"


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 0, 5),
        (10, 10, -5, -5),
        (10, 10, 5, 5, float("inf")),
        (10, 10, 5, 5, float("nan")),
        (float("nan"), 10, 5, 5),
    ],
)
def test_what_is_no_box_is_refused_as_such(box: tuple[float, ...]) -> None:
    with pytest.raises(InvalidBox, match=r"boxes\[0\] is no box"):
        refuse_misplaced([FaceBox(*box)], (60, 50))


@pytest.mark.parametrize(
    ("detection_px", "boxes", "times"),
    [(None, None, 1), (320, None, 1), (1920, None, 4), (1920, [FaceBox(0, 0, 9, 9)], 1)],
)
def test_a_finer_search_is_counted_as_more_work(
    detection_px: int | None, boxes: list[FaceBox] | None, times: int
) -> None:
    detector = SimpleNamespace(longest_side_px=960)
    model: Any = SimpleNamespace(aligner=SimpleNamespace(detector=detector))
    request = AlignRequest(b"x" * 100, model, boxes, Frame.upright, 16, 0.0, detection_px)
    assert _size(request) == 100 * times
