import keras_tuner
import numpy as np
import pytest

from trainers.experiments import space
from trainers.recipes import Recipe


@pytest.mark.parametrize("count", [1, 2, 5, 8, 11])
def test_a_grid_of_decay_factors_has_the_papers_first(count):
    point = space.defaults(["decay_factor"], Recipe(decay_factor=1.0))
    values = [each["decay_factor"] for each in space.grid(point, count)]
    assert values[0] == 2.6
    assert len(set(values)) == count
    assert min(values) >= 1 and max(values) <= 6
    if count >= 5:
        assert {1.0, 6.0} <= set(values)
        gaps = np.diff(sorted(values))
        assert gaps.max() < 2 * 5 / (count - 1)


def test_a_search_starts_where_the_user_says():
    recipe = Recipe(decay_factor=1.7)
    given = {"decay_factor": 1.7}
    point = space.defaults(["decay_factor"], recipe, given)
    assert point == {"decay_factor": 1.7}
    assert space.grid(point, 5)[0] == point


def test_a_grid_of_several_fields_is_their_product():
    names = ["decay_factor", "unfreezing"]
    points = space.grid(space.defaults(names, Recipe()), 1000)
    methods = {each["unfreezing"] for each in points}
    factors = {each["decay_factor"] for each in points}
    assert len(points) == len(methods) * len(factors)
    assert points[0] == {"decay_factor": 2.6, "unfreezing": "paper"}


@pytest.mark.parametrize("dropout", [1.0, 0.23])
def test_every_field_is_one_of_the_recipes_and_samples_are_valid(dropout):
    # As they are with `compact`, and with a model of the paper's size.
    recipe = Recipe(encoder_dropout=dropout, language_model_dropout=dropout)
    for name, field in space.TUNABLE.items():
        if isinstance(field, space.Interval):
            assert field.low <= getattr(recipe, name) <= field.high or (
                name == "language_model_decay_factor"
            )
    point = space.defaults(list(space.TUNABLE), recipe)
    hp = keras_tuner.HyperParameters()
    assert space.declare(hp, point) == pytest.approx(point)
    for seed in range(20):
        for field in hp.space:
            hp.values[field.name] = field.random_sample(seed)
        Recipe(**space.declare(hp, point))


def test_single_precision_does_not_change_a_trial():
    hp = keras_tuner.HyperParameters()
    point = {"decay_factor": 2.6}
    space.declare(hp, point)
    # What KerasTuner's messages make of the number.
    hp.values["decay_factor"] = float(np.float32(2.6))
    assert hp.values["decay_factor"] != 2.6
    assert space.declare(hp, point) == point


def test_epochs_are_drawn_by_their_logarithm():
    """As the grid and the plot have them: long trials are dear."""
    hp = keras_tuner.HyperParameters()
    space.declare(hp, {"epochs": 12})
    (field,) = hp.space
    drawn = [field.random_sample(seed) for seed in range(2000)]
    assert min(drawn) == 5 and max(drawn) == 50
    # Half of them below the geometric mean; uniformly it would be 27.
    assert np.median(drawn) == pytest.approx(np.sqrt(5 * 51), abs=1.5)


def test_a_part_of_a_grid_varies_every_field():
    names = ["decay_factor", "learning_rate", "dropout"]
    point = space.defaults(names, Recipe())
    points = space.grid(point, 4)
    assert points[0] == point and len(points) == 4
    assert all(len({each[name] for each in points}) > 1 for name in names)


@pytest.mark.parametrize("factor", [1.2, 2.6, 5.9])
def test_a_small_grid_searches_on_both_sides_of_where_it_starts(factor):
    point = {"decay_factor": factor, "learning_rate": 0.01}
    points = space.grid(point, 8)
    assert len(points) == 8 and points[0] == point
    for name, default in point.items():
        values = [each[name] for each in points]
        assert min(values) < default < max(values)


def test_points_are_added_where_there_are_none_near():
    point = space.defaults(["decay_factor"], Recipe())
    before = space.grid(point, 8)
    finer = space.grid(point, 16)
    added = space.farthest_first(
        before, [each for each in finer if each not in before], 12
    )[8:]
    factors = sorted(each["decay_factor"] for each in added)
    assert len(factors) == 4 and factors[0] < 3 and factors[-1] > 4.5


def test_epochs_are_as_many_as_the_order_of_unfreezing_takes():
    fields = space.searched(["epochs", "unfreezing"], fewest_epochs=7)
    point = space.defaults(fields, Recipe())
    assert min(each["epochs"] for each in space.grid(point, 25, fields)) == 7
    hp = keras_tuner.HyperParameters()
    space.declare(hp, point, fields)
    drawn = [hp.space[0].random_sample(seed) for seed in range(500)]
    assert min(drawn) == 7
    # Fewer than five are never tried, though some orders could do with one.
    assert space.searched(["epochs"], 1)["epochs"] == space.TUNABLE["epochs"]
