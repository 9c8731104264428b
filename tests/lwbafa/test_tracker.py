"""Faces that are followed: over a world that is known, and over the real network."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lwbafa import AlignedFace, Client, FaceAligner, FaceBox, Tracker
from lwbafa.smoothing import OneEuro
from lwbafa.tracker import Track, box_of
from lwbafa.types import Pixels
from tests.conftest import running_server

FRAME = np.zeros((400, 600, 3), np.uint8)
SHAPE = np.array([[-20.0, -20], [-10, -18], [10, -18], [20, -20], [0, 0], [-10, 20], [10, 20]])


@dataclass(frozen=True, eq=False)
class Face:
    landmarks: NDArray[np.float64]
    score: float

    def group(self, name: str) -> NDArray[np.float64]:
        return self.landmarks[{"left_eye": [0, 1], "right_eye": [2, 3]}[name]]


class World:
    """Faces by their centres; what aligns finds those there are, and nothing elsewhere."""

    def __init__(self, *centers: tuple[float, float]) -> None:
        self.centers = list(centers)
        self.searches = 0
        self.score = 0.8

    def align(self, _: Pixels, boxes: Sequence[FaceBox] | None) -> list[Face]:
        if boxes is None:
            self.searches += 1
            return [Face(SHAPE + center, self.score) for center in self.centers]
        return [self._nearest(box) for box in boxes]

    def _nearest(self, box: FaceBox) -> Face:
        def away(center: tuple[float, float]) -> float:
            return float(np.hypot(*np.subtract(center, box.center)))

        nearest = min(self.centers, key=away, default=(1e6, 0.0))
        if away(nearest) > 20:
            return Face(SHAPE + box.center, 0.1)
        return Face(SHAPE + nearest, self.score)


def ids(tracks: list[Track[Face]]) -> list[int]:
    return [track.id for track in tracks]


def test_faces_keep_their_ids_and_cost_no_search() -> None:
    world = World((100, 100), (300, 100))
    tracker = Tracker(world.align, detect_every=10)
    for i in range(20):
        world.centers = [(300.0 - 5 * i, 150.0), (100.0 + 5 * i, 100.0)][:: 1 if i % 2 else -1]
        tracks = tracker.update(FRAME, i / 25)
        assert len(tracks) == 2
        assert ids(tracks) == [0, 1]
        assert [track.frames for track in tracks] == [i + 1, i + 1]
        assert tracks[0].face.landmarks[4, 1] == 100
    assert world.searches == 2


def test_a_new_face_is_found_at_the_next_search_a_lost_one_at_once() -> None:
    world = World((100, 100))
    tracker = Tracker(world.align, detect_every=5)
    assert ids(tracker.update(FRAME, 0)) == [0]
    world.centers.append((300, 100))
    found = [ids(tracker.update(FRAME, time_s)) for time_s in (1, 2, 3, 4, 5)]
    assert found == [[0], [0], [0], [0], [0, 1]]
    # It jumps: what is where it was scores low, so all are searched for.
    world.centers[0] = (115, 120)
    assert ids(tracker.update(FRAME, 6)) == [0, 1]
    world.centers[0] = (500, 300)
    assert ids(tracker.update(FRAME, 7)) == [1, 2]
    world.centers.clear()
    assert tracker.update(FRAME, 8) == []
    world.centers.append((100, 100))
    assert ids(tracker.update(FRAME, 9)) == [3]


def test_two_tracks_that_run_into_one_face_become_the_older_one() -> None:
    world = World((100, 100), (130, 100))
    tracker = Tracker(world.align)
    assert ids(tracker.update(FRAME, 0)) == [0, 1]
    world.centers = [(115, 100)]
    assert ids(tracker.update(FRAME, 1)) == [0]


def test_a_face_that_leaves_the_picture_is_let_go() -> None:
    world = World((30, 100))
    tracker = Tracker(world.align)
    assert ids(tracker.update(FRAME, 0)) == [0]
    world.centers = [(-5, 100)]
    assert tracker.update(FRAME, 1) == []
    world.centers = [(100, 100)]
    assert ids(tracker.update(FRAME, 2)) == [1]


def test_doubtful_faces_are_not_followed() -> None:
    world = World((100, 100))
    world.score = 0.25
    assert Tracker(world.align).update(FRAME, 0) == []
    assert len(Tracker(world.align, min_score=0.2).update(FRAME, 0)) == 1


def test_time_goes_on_and_an_error_leaves_the_tracker_as_it_was() -> None:
    world = World((100, 100))
    tracker = Tracker(world.align)
    tracker.update(FRAME, 1)
    with pytest.raises(ValueError, match="time goes on: 1 s does not come after 1 s"):
        tracker.update(FRAME, 1)
    world.align = None  # type: ignore[assignment, method-assign]
    assert ids(tracker.update(FRAME, 1.04)) == [0]


@pytest.mark.parametrize("degrees", [0.0, 20.0, -20.0, 40.0, 90.0, 180.0, -130.0])
def test_a_turned_faces_box_is_turned_as_it_is(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    box = box_of(Face(SHAPE @ turn + [200, 100], 1.0))
    assert np.allclose(box.center, (200, 100), atol=5)
    if abs(degrees) > 25:
        assert (box.width, box.height) == pytest.approx((40, 40))
        assert abs(box.roll_degrees) == pytest.approx(abs(degrees))
    else:
        assert box.roll_degrees == 0


def test_still_points_stand_still_and_fast_ones_do_not_lag() -> None:
    chance = np.random.default_rng(7)
    tremble = chance.normal(0, 1, (250, 68, 2))
    still, fast = OneEuro(1.0, 5.0), OneEuro(1.0, 5.0)
    smooth = np.array([still(points, i / 25, 100.0) for i, points in enumerate(tremble)])
    assert smooth[25:].std() < 0.6 * tremble.std()
    # Half a face's width a second.
    path = np.arange(250)[:, None, None] * np.full((1, 68, 2), 2.0) + tremble
    followed = np.array([fast(points, i / 25, 100.0) for i, points in enumerate(path)])
    assert np.abs((path - followed)[25:].mean()) < 2.5


def moving(astronaut: Pixels, count: int) -> list[Pixels]:
    """The portrait, moving to the right and turning."""
    center = (224.0, 130.0)
    frames = []
    for i in range(count):
        move = cv2.getRotationMatrix2D(center, -5.0 * i, 1.0)
        move[:, 2] += (6 * i, 4 * i)
        frames.append(cv2.warpAffine(astronaut, move, (512, 512)))
    return frames  # type: ignore[return-value]


def test_a_real_face_is_followed_while_it_moves_and_turns(astronaut: Pixels) -> None:
    aligner = FaceAligner.load()
    searches = 0

    def align(image: Pixels, boxes: Sequence[FaceBox] | None) -> list[AlignedFace]:
        nonlocal searches
        searches += boxes is None
        return aligner.align(image, boxes)

    tracker = Tracker(align, beta=50.0)
    (start,) = aligner.align(astronaut)
    for i, frame in enumerate(moving(astronaut, 12)):
        (track,) = tracker.update(frame, i / 25)
        assert track.id == 0
        move = cv2.getRotationMatrix2D((224.0, 130.0), -5.0 * i, 1.0)
        expected = start.landmarks @ move[:, :2].T + move[:, 2] + [6 * i, 4 * i]
        errors = np.linalg.norm(track.face.landmarks - expected, axis=1) / 65
        assert errors.mean() < 0.05, i
    assert searches == 1


def test_a_client_is_followed_over_alike(astronaut: Pixels) -> None:
    with running_server() as url, Client(url) as client:
        tracker = Tracker(client.align)
        for i, frame in enumerate(moving(astronaut, 3)):
            (track,) = tracker.update(frame, i / 25)
            assert track.id == 0
            assert track.face.box_score is None or i == 0
            assert track.landmarks.shape == (68, 2)


def test_a_crowd_is_followed_in_parts_that_a_service_takes() -> None:
    world = World(*((60.0 * x + 30, 60.0 * y + 30) for x in range(9) for y in range(6)))
    asked: list[int] = []

    def align(frame: Pixels, boxes: Sequence[FaceBox] | None) -> list[Face]:
        asked.append(len(boxes or ()))
        return world.align(frame, boxes)

    tracker = Tracker(align)
    first = [track.id for track in tracker.update(FRAME, 0)]
    assert len(first) == 54
    assert [track.id for track in tracker.update(FRAME, 1)] == first
    assert max(asked) <= 16
    assert sum(asked) == 54


@pytest.mark.parametrize("time_s", [float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(time_s: float) -> None:
    tracker = Tracker(World((100.0, 100.0)).align)
    with pytest.raises(ValueError, match="time goes on"):
        tracker.update(FRAME, time_s)
    tracker.update(FRAME, 1)
