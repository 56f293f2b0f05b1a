import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from foreshock.core.model import Samples, Series
from predictor.frames import panel, quantiles

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


def test_an_infinite_value_is_a_missing_point():
    met = panel([Samples(series=CPU, times=[0.0, 60.0], values=[float("inf"), 1.0])], step_s=60)

    np.testing.assert_array_equal(met.values, [[np.nan], [1.0]])


def test_no_points_make_a_panel_without_rows():
    met = panel([Samples(series=CPU, times=[], values=[])], step_s=60)

    assert met.values.shape == (0, 1)
    assert np.isnan(quantiles(met.values, 0.5)[0]).all()


def test_between_takes_the_start_and_leaves_the_end():
    met = panel([Samples(series=CPU, times=[0.0, 60.0, 120.0], values=[1.0, 2.0, 3.0])], step_s=60)

    assert met.between(60, 120).values.tolist() == [[2.0]]


VALUES = st.floats(-1e6, 1e6) | st.just(float("nan"))


@given(arrays.arrays(float, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=VALUES))
@pytest.mark.filterwarnings("ignore:All-NaN slice")
def test_quantiles_are_those_of_numpy(values):
    for share, found in zip((0.025, 0.5, 0.99), quantiles(values, 0.025, 0.5, 0.99), strict=True):
        np.testing.assert_allclose(found, np.nanquantile(values, share, axis=0), rtol=1e-9, atol=1e-6)
