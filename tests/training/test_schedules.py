"""Learning-rate schedules, step by step against the equation."""

import keras
import numpy as np
import pytest

from ulmfit_tf.training import (
    ScheduleSequence,
    SlantedTriangular,
    WarmUpStableDecay,
    discriminative_rates,
    one_cycle,
    warm_up_cosine,
)


def equation_3(total_steps, max_rate, cut_frac, ratio):
    """`p` and the rate of every step, literally as in the paper."""
    steps = np.arange(total_steps, dtype="float64")
    cut = np.floor(total_steps * cut_frac)
    p = np.where(
        steps < cut,
        steps / cut,
        1 - (steps - cut) / (cut * (1 / cut_frac - 1)),
    )
    return p, max_rate * (1 + p * (ratio - 1)) / ratio


@pytest.mark.parametrize("total_steps", [100, 1000, 1234])
@pytest.mark.parametrize("cut_frac, ratio", [(0.1, 32.0), (0.25, 8.0)])
def test_every_step_follows_equation_3(total_steps, cut_frac, ratio):
    schedule = SlantedTriangular(0.01, total_steps, cut_frac, ratio)
    actual = np.array(schedule(np.arange(total_steps)))
    p, expected = equation_3(total_steps, 0.01, cut_frac, ratio)
    defined = p >= 0
    np.testing.assert_allclose(
        actual[defined], expected[defined], rtol=1e-5, atol=1e-9
    )
    assert defined.mean() > 0.98
    # Beyond, the equation would fall below the lowest rate.
    np.testing.assert_allclose(actual[~defined], 0.01 / ratio, rtol=1e-6)
    np.testing.assert_allclose(actual[0], 0.01 / ratio, rtol=1e-6)
    assert actual.argmax() == np.floor(total_steps * cut_frac)
    np.testing.assert_allclose(actual.max(), 0.01, rtol=1e-6)


@pytest.mark.parametrize("total_steps", range(1, 31))
def test_short_schedules_stay_within_bounds(total_steps):
    schedule = SlantedTriangular(0.01, total_steps)
    rates = np.array(schedule(np.arange(total_steps + 3)))
    assert np.isfinite(rates).all()
    assert rates.min() >= 0.01 / 32 * (1 - 1e-6)
    assert rates.max() <= 0.01 * (1 + 1e-6)
    if total_steps > 1:
        np.testing.assert_allclose(rates.max(), 0.01, rtol=1e-6)


@pytest.mark.parametrize("total_steps", range(3, 10))
def test_a_schedule_too_short_for_the_equation_falls_to_its_end(total_steps):
    # An epoch of some hundred documents, with which unfreezing begins.
    rates = np.array(SlantedTriangular(0.01, total_steps)(np.arange(100)))
    line = np.linspace(0.01, 0.01 / 32, total_steps)
    np.testing.assert_allclose(rates[1 : total_steps + 1], line, rtol=1e-5)
    np.testing.assert_allclose(rates[total_steps:], 0.01 / 32, rtol=1e-5)


def test_a_whole_product_is_not_rounded_down():
    # 100 * 0.29 is 28.999... in binary; the cut is step 29.
    rates = np.array(SlantedTriangular(1.0, 100, 0.29)(np.arange(100)))
    assert rates.argmax() == 29


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cut_frac": 0.0}, "warmup_steps / total_steps"),
        ({"cut_frac": 1.0}, "Received: cut_frac=1.0"),
        ({"total_steps": 0}, "Received: total_steps=0"),
        ({"ratio": 0.5}, "Received: ratio=0.5"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, message):
    arguments = {"max_learning_rate": 0.01, "total_steps": 10} | changes
    with pytest.raises(ValueError, match=message):
        SlantedTriangular(**arguments)


def warm_up_stable_decay(steps, rate, total, warm_up, decay_frac, ratio):
    """The rate of every step, one case after the other."""
    falls_at = round(total * (1 - decay_frac))
    rates = []
    for step in steps:
        factor = min(1.0, (step + 1) / (warm_up + 1))
        if step > falls_at:
            part = min(1.0, (step - falls_at) / max(1, total - falls_at))
            factor = min(factor, (1 - part) * 1.0 + part / ratio)
        rates.append(rate * factor)
    return rates


@pytest.mark.parametrize(
    "total, warm_up, decay_frac, ratio",
    [
        pytest.param(1000, 200, 0.2, 32.0, id="usual"),
        pytest.param(1000, 0, 0.5, 8.0, id="no_warm_up"),
        pytest.param(50, 200, 0.2, 32.0, id="falls_before_it_is_warm"),
        pytest.param(7, 2, 1.0, 4.0, id="never_stable"),
        pytest.param(1, 0, 0.2, 32.0, id="one_step"),
    ],
)
def test_warm_up_then_stable_then_decay(total, warm_up, decay_frac, ratio):
    schedule = WarmUpStableDecay(0.02, total, warm_up, decay_frac, ratio)
    steps = np.arange(total + 5)
    expected = warm_up_stable_decay(
        steps, 0.02, total, warm_up, decay_frac, ratio
    )
    np.testing.assert_allclose(schedule(steps), expected, rtol=1e-5)


def test_until_it_falls_the_rate_does_not_depend_on_the_steps_to_come():
    short, long = WarmUpStableDecay(0.02, 500), WarmUpStableDecay(0.02, 900)
    assert (short.stable_until, long.stable_until) == (400, 720)
    steps = np.arange(401)
    np.testing.assert_array_equal(short(steps), long(steps))
    # Constant, at the highest rate, once it is warm.
    np.testing.assert_array_equal(short(steps[200:]), np.float32(0.02))
    assert float(short(401)) < float(long(401))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"total_steps": 0}, "Received: total_steps=0"),
        ({"warm_up_steps": -1}, "warm_up_steps=-1"),
        ({"decay_frac": 0.0}, "Received: decay_frac=0.0"),
        ({"decay_frac": 1.1}, "Received: decay_frac=1.1"),
        ({"ratio": 0.5}, "ratio=0.5"),
    ],
)
def test_stable_schedules_out_of_range_are_refused(changes, message):
    arguments = {"max_learning_rate": 0.01, "total_steps": 10} | changes
    with pytest.raises(ValueError, match=message):
        WarmUpStableDecay(**arguments)


def make_sequence():
    triangles = [
        SlantedTriangular(0.1, 10, 0.3, 4.0),
        SlantedTriangular(0.02, 7, 0.5, 8.0),
        SlantedTriangular(0.5, 12),
    ]
    return ScheduleSequence(triangles, [10, 7, 12])


def test_a_sequence_starts_each_schedule_at_its_own_zero():
    schedule = make_sequence()
    expected = np.concatenate(
        [
            np.array(each(np.arange(steps)))
            for each, steps in zip(
                schedule.schedules, schedule.steps, strict=True
            )
        ]
    )
    actual = [float(schedule(step)) for step in range(29)]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    # The last one goes on.
    np.testing.assert_allclose(float(schedule(40)), 0.5 / 32, rtol=1e-6)


@pytest.mark.parametrize("steps", [[10, 7], [10, 7, 12, 3]])
def test_a_sequence_needs_as_many_steps_as_schedules(steps):
    with pytest.raises(ValueError, match="equally long"):
        ScheduleSequence(make_sequence().schedules, steps)
    with pytest.raises(ValueError, match="not empty"):
        ScheduleSequence([], [])


@pytest.mark.parametrize(
    "schedule",
    [
        SlantedTriangular(0.3, 20, 0.2, 5.0),
        WarmUpStableDecay(0.3, 20, 3, 0.4, 5.0),
        make_sequence(),
    ],
)
def test_configuration_round_trip(schedule):
    name = keras.saving.get_registered_name(type(schedule))
    assert name == f"ulmfit_tf>{type(schedule).__name__}"
    config = keras.saving.serialize_keras_object(schedule)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(schedule)
    for step in range(30):
        assert float(copy(step)) == float(schedule(step))


def test_rates_fall_by_the_factor_from_the_top_down():
    rates = discriminative_rates(0.01, 4)
    np.testing.assert_allclose(
        rates,
        [0.01 / 2.6 / 2.6 / 2.6, 0.01 / 2.6 / 2.6, 0.01 / 2.6, 0.01],
        rtol=1e-12,
    )
    assert discriminative_rates(0.3, 3, 1) == [0.3] * 3
    assert discriminative_rates(0.3, 1) == [0.3]
    for factor in (0, -2.6):
        with pytest.raises(ValueError, match="must be positive"):
            discriminative_rates(0.01, 4, factor)


def test_warm_up_cosine_against_its_formula():
    total, cut = 40, 10
    schedule = warm_up_cosine(0.01, total, cut_frac=0.25, ratio=8.0)
    steps = np.arange(total + 1)
    line = 0.01 / 8 + (0.01 - 0.01 / 8) * steps / cut
    fallen = 0.5 * (1 + np.cos(np.pi * (steps - cut) / (total - cut)))
    cosine = 0.01 / 8 + (0.01 - 0.01 / 8) * fallen
    expected = np.where(steps < cut, line, cosine)
    actual = [float(schedule(step)) for step in steps]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_one_cycle_has_fastais_figures():
    total, cut = 80, 20
    schedule = one_cycle(0.02, total)

    def half_cosine(start, end, progress):
        return start + (1 + np.cos(np.pi * (1 - progress))) * (end - start) / 2

    expected = [
        half_cosine(0.02 / 25, 0.02, step / cut)
        if step < cut
        else half_cosine(0.02, 0.02 / 1e5, (step - cut) / (total - cut))
        for step in range(total + 1)
    ]
    actual = [float(schedule(step)) for step in range(total + 1)]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("total_steps", [1, 2, 3])
@pytest.mark.parametrize("make", [warm_up_cosine, one_cycle])
def test_short_cosines_stay_within_bounds(make, total_steps):
    schedule = make(0.01, total_steps)
    rates = [float(schedule(step)) for step in range(total_steps + 2)]
    assert 0 < min(rates) <= max(rates) <= 0.01 * (1 + 1e-6)


def test_stable_rises_stays_and_falls():
    schedule = WarmUpStableDecay(0.01, 50, warm_up_steps=4, ratio=5.0)
    rates = [float(schedule(step)) for step in range(51)]
    np.testing.assert_allclose(rates[:5], 0.01 * np.arange(1, 6) / 5, rtol=1e-5)
    np.testing.assert_allclose(rates[5:41], 0.01, rtol=1e-5)
    falling = np.linspace(0.01, 0.002, 11)
    np.testing.assert_allclose(rates[40:], falling, rtol=1e-5)
    # Up to the fall, more steps change nothing.
    longer = WarmUpStableDecay(0.01, 100, warm_up_steps=4, ratio=5.0)
    assert [float(longer(step)) for step in range(40)] == rates[:40]
