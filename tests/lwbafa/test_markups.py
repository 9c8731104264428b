import pytest

from lwbafa.markups import MARKUPS, Markup

pytestmark = pytest.mark.parametrize("markup", MARKUPS.values(), ids=lambda markup: markup.name)


def test_counts(markup: Markup) -> None:
    expected = {"300w-68": (68, 13), "wflw-98": (98, 15)}[markup.name]
    assert (markup.landmark_count, len(markup.boundaries)) == expected


def test_flip_is_an_involution_on_all_landmarks(markup: Markup) -> None:
    assert sorted(markup.flip) == list(range(markup.landmark_count))
    assert [markup.flip[i] for i in markup.flip] == list(range(markup.landmark_count))


def test_flip_maps_each_boundary_onto_its_mirror(markup: Markup) -> None:
    for k, boundary in enumerate(markup.boundaries):
        mirror = markup.boundaries[boundary.flips_to]
        assert mirror.flips_to == k
        assert sorted(markup.flip[i] for i in boundary.landmarks) == sorted(mirror.landmarks)


def test_a_mirrored_boundary_is_drawn_along_the_same_curve(markup: Markup) -> None:
    for boundary in markup.boundaries:
        mirror = list(markup.boundaries[boundary.flips_to].landmarks)
        mirrored = [markup.flip[i] for i in boundary.landmarks]
        assert mirrored in (mirror, mirror[::-1])


def test_every_landmark_has_one_group(markup: Markup) -> None:
    grouped = [i for indices in markup.groups.values() for i in indices]
    assert sorted(grouped) == list(range(markup.landmark_count))


def test_only_pupils_lie_on_no_boundary(markup: Markup) -> None:
    lonely = {i for i, own in enumerate(markup.boundaries_of_landmark) if not own}
    assert lonely == set(markup.groups.get("pupils", ()))


def test_outer_eye_corners_are_each_others_mirror(markup: Markup) -> None:
    left, right = markup.outer_eye_corners
    assert markup.flip[left] == right
    assert left in markup.groups["left_eye"]
