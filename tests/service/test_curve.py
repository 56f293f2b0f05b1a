"""The small picture of a metric's course."""

from foreshock.service.console.curve import HEIGHT, MARGIN, WIDTH, curve
from foreshock.service.console.words import number
from foreshock.testing.factories import make_anomaly


def points(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in text.split())]


def test_it_runs_from_edge_to_edge_and_marks_the_deviation():
    drawn = curve(make_anomaly(course=(1.0, 1.0, 1.0, 3.0, 3.0), course_onset=3, expected=1.0))

    assert drawn is not None
    calm, odd = points(drawn.line), points(drawn.odd)
    assert (calm[0], odd[-1]) == ((MARGIN, HEIGHT - MARGIN), (WIDTH - MARGIN, MARGIN))
    assert calm[-1] == odd[0]
    assert len(odd) == 2
    assert drawn.usual_y == HEIGHT - MARGIN


def test_the_usual_value_is_in_the_picture_although_no_point_is_there():
    drawn = curve(make_anomaly(course=(5.0, 6.0), course_onset=0, expected=1.0))

    assert drawn is not None
    assert drawn.usual_y == HEIGHT - MARGIN
    assert all(y < drawn.usual_y for _, y in points(drawn.odd))


def test_a_flat_course_and_huge_values_are_drawn_and_too_few_points_are_not():
    assert curve(make_anomaly(course=(2.0, 2.0), expected=2.0)) is not None
    wild = curve(make_anomaly(course=(0.0, -1e300, 1e300), expected=0.0))
    assert wild is not None
    assert all(0 <= y <= HEIGHT for _, y in points(f"{wild.line} {wild.odd}"))
    assert curve(make_anomaly(course=(2.0,))) is None


def test_numbers_show_four_digits_that_count():
    values = (0, 0.05123456, 0.5, 12.3456, 1234.5678, -99.99999, 2.5e9, 3e-7)
    assert [number(value) for value in values] == [
        "0", "0.05123", "0.5", "12.35", "1,235", "-100", "2.5e+09", "3e-07",
    ]  # fmt: skip
