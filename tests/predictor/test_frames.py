import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from foreshock.core.model import Samples, Series
from predictor.frames import came, panel, quantiles

CPU = Series(ci="db1", metric="cpu")
LOAD = Series(ci="db1", metric="load")


def test_samples_meet_on_one_grid_and_a_missing_point_is_nan():
    met = panel(
        [
            Samples(series=CPU, times=[60.0, 120.0, 240.0], values=[1.0, 2.0, 4.0]),
            Samples(series=LOAD, times=[121.0], values=[9.0]),
        ],
        step_s=60,
    )

    assert met.series == (CPU, LOAD)
    assert met.times.tolist() == [60.0, 120.0, 180.0, 240.0]
    np.testing.assert_array_equal(met.values, [[1, np.nan], [2, 9], [np.nan, np.nan], [4, np.nan]])


def test_points_of_one_series_in_several_parts_come_together_and_the_last_within_a_step_counts():
    met = panel(
        [Samples(series=CPU, times=[0.0, 59.0], values=[1.0, 2.0]), Samples(series=CPU, times=[60.0], values=[3.0])],
        step_s=60,
    )

    assert met.values.tolist() == [[2.0], [3.0]]


@pytest.mark.parametrize("value", [float("inf"), -1e300])
def test_a_value_beyond_all_measure_is_a_missing_point(value):
    met = panel([Samples(series=CPU, times=[0.0, 60.0], values=[value, 1.0])], step_s=60)

    np.testing.assert_array_equal(met.values, [[np.nan], [1.0]])


def test_no_points_make_a_panel_without_rows():
    met = panel([Samples(series=CPU, times=[], values=[])], step_s=60)

    assert met.values.shape == (0, 1)
    assert np.isnan(quantiles(met.values, 0.5)[0]).all()


def test_a_metric_came_where_a_quarter_of_its_series_did():
    parts = [
        Samples(series=CPU, times=[60.0 * row for row in range(count)], values=[1.0] * count) for count in range(5)
    ]

    assert came(parts, 60.0).tolist() == [0.0, 60.0, 120.0, 180.0]
    assert came(parts * 2 + [parts[1]] * 8, 60.0).tolist() == [0.0, 60.0, 120.0]
    assert came([], 60.0).tolist() == []


def test_between_takes_the_start_and_leaves_the_end():
    met = panel([Samples(series=CPU, times=[0.0, 60.0, 120.0], values=[1.0, 2.0, 3.0])], step_s=60)

    assert met.between(60, 120).values.tolist() == [[2.0]]


VALUES = st.floats(-1e6, 1e6) | st.just(float("nan"))


@given(arrays.arrays(float, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=VALUES))
@pytest.mark.filterwarnings("ignore:All-NaN slice")
def test_quantiles_are_those_of_numpy(values):
    for share, found in zip((0.025, 0.5, 0.99), quantiles(values, 0.025, 0.5, 0.99), strict=True):
        np.testing.assert_allclose(found, np.nanquantile(values, share, axis=0), rtol=1e-9, atol=1e-6)
