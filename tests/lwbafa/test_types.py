import pytest

from lwbafa.types import FaceBox

PICTURE = FaceBox(-0.5, -0.5, 16, 16)


@pytest.mark.parametrize(
    ("box", "meets"),
    [
        (FaceBox(4, 4, 3, 3), True),
        (FaceBox(-20, -20, 80, 80, 45), True),
        (FaceBox(15.4, 4, 3, 3), True),
        (FaceBox(15.5, 4, 3, 3), False),
        (FaceBox(15.6, 4, 3, 3, 45), True),
        (FaceBox(16, 16, 3, 3), False),
        # The rectangle around it reaches into the picture, its corner does not.
        (FaceBox(16, 16, 3, 3, 26), False),
        (FaceBox(14.9, 14.9, 3, 3, 26), True),
        # Beyond the corner, along the diagonal and across it.
        (FaceBox(8, 17, 20, 2, 45), True),
        (FaceBox(8, 17, 20, 2, -45), False),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, FaceBox) else None,
)
def test_a_turned_box_meets_what_it_overlaps(box: FaceBox, meets: bool) -> None:
    assert box.meets(PICTURE) is meets
    assert box._replace(roll_degrees=box.roll_degrees - 360).meets(PICTURE) is meets
