import pytest

from trainers.experiments.label_efficiency import (
    equivalent_labels,
    sentence,
)

# Falls by 10 points each time that the labels double.
_CURVE = [(100, 40.0), (200, 30.0), (400, 20.0)]


@pytest.mark.parametrize(
    "error, labels, relation",
    [
        pytest.param(30.0, 200, "about", id="at_a_size"),
        pytest.param(40.0, 100, "about", id="at_the_smallest"),
        pytest.param(20.0, 400, "about", id="at_the_largest"),
        # Half of the way in error is half of the way in the logarithm.
        pytest.param(25.0, 200 * 2**0.5, "about", id="between"),
        pytest.param(41.0, 100, "fewer than", id="worse_than_all"),
        pytest.param(19.0, 400, "more than", id="better_than_all"),
    ],
)
def test_labels_for_an_error(error, labels, relation):
    found = equivalent_labels(_CURVE, error)
    assert found.labels == pytest.approx(labels)
    assert found.relation == relation


@pytest.mark.parametrize("difference", [1e-9, -1e-9, 4e-4, -4e-4])
@pytest.mark.parametrize(
    "error, labels", [(40.0, 100), (30.0, 200), (20.0, 800)]
)
def test_a_tie_is_one_whatever_the_last_digits(error, labels, difference):
    curve = [(100, 40.0), (200, 30.0), (400, 30.0), (800, 20.0)]
    found = equivalent_labels(curve, error + difference)
    assert found.relation == "about"
    assert found.labels == pytest.approx(labels, rel=1e-3)


def test_a_rise_by_chance_does_not_undo_what_was_reached():
    curve = [(100, 40.0), (200, 20.0), (400, 30.0), (800, 10.0)]
    assert equivalent_labels(curve, 30.0).labels == pytest.approx(100 * 2**0.5)
    # Reached at 200 already, better only on the way from 400 to 800.
    assert equivalent_labels(curve, 15.0).labels == pytest.approx(400 * 2**0.5)


# The mean of two seeds is `_CURVE`.
_SEEDS = [(100, [38.0, 42.0]), (200, [30.0, 30.0]), (400, [20.0, 20.0])]


def test_the_sentence_says_how_many_times():
    one = [(size, [error]) for size, error in _CURVE]
    said = sentence("ULMFiT", 50, "from scratch", one, [30.0])
    assert said == (
        "ULMFiT: 50 labels match about 200 from scratch (4 times as many)."
    )
    assert "more than 400 from scratch (more than 8 times" in sentence(
        "ULMFiT", 50, "from scratch", one, [5.0]
    )
    assert "(100 times as many)" in sentence(
        "ULMFiT", 2, "from scratch", one, [30.0]
    )


@pytest.mark.parametrize(
    "errors, said",
    [
        # 40 lies above the first seed's curve, 20 at the end of the second's.
        pytest.param(
            [40.0, 20.0], "from fewer than 100 to about 400", id="wide"
        ),
        pytest.param([34.0, 19.0], "from about 141 to more than 400", id="end"),
    ],
)
def test_the_sentence_tells_the_range_of_the_seeds(errors, said):
    words = sentence("ULMFiT", 50, "from scratch", _SEEDS, errors)
    assert f"; single seeds {said} labels)." in words
    assert words.startswith("ULMFiT: 50 labels match about ")


def test_a_seed_that_diverged_is_left_out_of_the_sentence():
    curve = [(size, [*errors, None]) for size, errors in _SEEDS]
    errors = [40.0, 20.0, None]
    assert sentence("A", 50, "B", curve, errors) == sentence(
        "A", 50, "B", _SEEDS, errors[:2]
    )
