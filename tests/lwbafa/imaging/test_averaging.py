import cv2
import numpy as np
import pytest

from lwbafa.imaging.averaging import averaged_down


def test_nothing_is_skipped_of_a_picture_many_times_as_large() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1539, 2051, 3), np.uint8)
    size = (640, 480)
    averaged, skipping = (
        cv2.resize(noise, size, interpolation=how).astype(int)
        for how in (cv2.INTER_AREA, cv2.INTER_LINEAR)
    )
    seen = averaged_down(noise, size)
    assert seen.shape == (480, 640, 3)
    assert np.abs(seen - averaged).mean() < np.abs(skipping - averaged).mean() / 2


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (50, 39), (99, 79), (100, 80)])
def test_what_is_anywhere_stays_there(size: tuple[int, int]) -> None:
    ramp = np.zeros((80, 100, 3), np.uint8)
    ramp[...] = np.linspace(0, 250, 100)[None, :, None]
    seen = averaged_down(ramp, size)
    expected = (np.arange(size[0]) + 0.5) / size[0] * 250
    assert seen.shape == (size[1], size[0], 3)
    assert np.abs(seen[0, :, 0] - expected).max() < 250 / size[0] + 1


@pytest.mark.parametrize("width", [1923, 3883, 9999])
def test_what_is_near_an_edge_moves_by_half_a_pixel_at_most(width: int) -> None:
    for edge in (0.03, 0.97):
        picture = np.zeros((96, width, 3), np.uint8)
        picture[:, round(edge * width) :] = 255
        seen = averaged_down(picture, (960, 8))
        assert abs(960 - seen[4, :, 0].sum() / 255 - round(edge * width) * 960 / width) < 0.52


@pytest.mark.parametrize("width", [340, 448, 540, 576, 608, 636])
def test_every_pixel_counts_however_little_smaller(width: int) -> None:
    """Each row shows another column alone: between two pixels of the answer none is lost."""
    columns = np.zeros((width, width, 3), np.uint8)
    columns[np.arange(width), np.arange(width)] = 255
    seen = averaged_down(columns, (320, width))
    assert seen[:, :, 0].sum(axis=1).min() > 0.29 * 255
