import keras_tuner
import pytest

from trainers.experiments import space
from trainers.experiments.oracles import NAMES, new_oracle
from trainers.recipes import Recipe

# KerasTuner names threads in an old way.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
_POINT = space.defaults(["decay_factor", "dropout"], Recipe())
# Hyperband's first bracket has eight trials and then promotes; a Gaussian
# process is fitted from the seventh on, and takes seconds for each.
_MAX_TRIALS = {"random": 9, "bayesian": 8, "hyperband": 14, "grid": 9}


def _oracle(name, folder):
    oracle = new_oracle(
        name,
        _MAX_TRIALS[name],
        seed=0,
        points=space.grid(_POINT, _MAX_TRIALS[name]),
        max_epochs=20,
        min_epochs=5,
    )
    oracle._set_project_dir(str(folder), "search")
    if oracle.is_saved:
        oracle.reload()
    else:
        hp = keras_tuner.HyperParameters()
        space.declare(hp, _POINT)
        oracle.update_space(hp)
        oracle.save()
    return oracle


def _error(values):
    """A valley with its bottom at 3 and 0.9."""
    return (values["decay_factor"] - 3) ** 2 + (values["dropout"] - 0.9) ** 2


def _finish(oracle, trial):
    error = _error(trial.hyperparameters.values)
    oracle.update_trial(trial.trial_id, {"validation_error": error})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def _search(oracle):
    """Runs a search to its end; returns the values of each trial run."""
    ran = []
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        ran.append((trial.trial_id, dict(trial.hyperparameters.values)))
        _finish(oracle, trial)
    return ran


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The trials of whole searches, by the oracle's name."""
    folder = tmp_path_factory.mktemp("whole")
    return {name: _search(_oracle(name, folder / name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_first_trial_is_the_recipes_with_the_papers_factor(
    name, uninterrupted
):
    ran = uninterrupted[name]
    assert len(ran) == _MAX_TRIALS[name]
    assert {key: ran[0][1][key] for key in _POINT} == _POINT
    assert len({str(values) for _, values in ran}) == len(ran)


class _Killed(Exception):
    pass


def _kill_at(oracle, method, count):
    """Makes the oracle's process die before it writes the n-th time."""
    write = getattr(oracle, method)
    calls = []

    def killed(*args):
        calls.append(args)
        if len(calls) > count:
            raise _Killed
        return write(*args)

    setattr(oracle, method, killed)


@pytest.mark.parametrize(
    "name, method, counts",
    [
        *((name, "save", range(12)) for name in ("random", "grid")),
        *((name, "_save_trial", range(12)) for name in ("random", "grid")),
        ("hyperband", "save", range(0, 28, 3)),
        ("hyperband", "_save_trial", range(1, 40, 4)),
        ("bayesian", "save", [15]),
    ],
)
def test_a_search_killed_at_any_write_loses_and_repeats_no_trial(
    name, method, counts, uninterrupted, tmp_path
):
    for count in counts:
        folder = tmp_path / f"killed_{count}"
        oracle = _oracle(name, folder)
        _kill_at(oracle, method, count)
        with pytest.raises(_Killed):
            _search(oracle)
        resumed = _oracle(name, folder)
        done = {
            key for key, t in resumed.trials.items() if t.status == "COMPLETED"
        }
        ran = _search(resumed)
        # No trial that had ended runs again, and none is missing.
        assert not done & {trial_id for trial_id, _ in ran}
        assert {
            trial_id: dict(trial.hyperparameters.values)
            for trial_id, trial in resumed.trials.items()
        } == dict(uninterrupted[name])
        assert all(t.status == "COMPLETED" for t in resumed.trials.values())


def test_hyperbands_trials_are_long_enough_to_thaw_every_layer(uninterrupted):
    epochs = [
        values["tuner/epochs"] for _, values in uninterrupted["hyperband"]
    ]
    assert min(epochs) >= 5 and max(epochs) == 20


@pytest.mark.parametrize("max_epochs", [12, 50])
@pytest.mark.parametrize("max_trials", [11, 15, 20, 40])
def test_hyperband_ends_with_its_longest_trials(
    max_trials, max_epochs, tmp_path
):
    oracle = new_oracle(
        "hyperband",
        max_trials,
        seed=0,
        points=[],
        max_epochs=max_epochs,
        min_epochs=5,
    )
    assert oracle.fewest_trials == {12: 8, 50: 11}[max_epochs]
    oracle._set_project_dir(str(tmp_path), "search")
    hp = keras_tuner.HyperParameters()
    space.declare(hp, _POINT)
    oracle.update_space(hp)
    trials = [values for _, values in _search(oracle)]
    epochs = [values["tuner/epochs"] for values in trials]
    assert max(epochs) == max_epochs and min(epochs) < max_epochs
    # Whatever was tried shortly, the best of it was tried for longest.
    begun = {values["tuner/bracket"] for values in trials}
    ended = {
        values["tuner/bracket"]
        for values in trials
        if values["tuner/epochs"] == max_epochs
    }
    assert begun == ended


def _bayesian(point, trials, folder):
    oracle = new_oracle(
        "bayesian", trials, seed=0, points=[], max_epochs=9, min_epochs=5
    )
    oracle._set_project_dir(str(folder), "search")
    hp = keras_tuner.HyperParameters()
    space.declare(hp, point)
    oracle.update_space(hp)
    # Its starts of the search for the next point, which take long.
    oracle.gpr.n_restarts_optimizer = 0
    return oracle


def _values_tried(oracle, point, error):
    tried = []
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        tried.append(space.declare(trial.hyperparameters, point))
        oracle.update_trial(
            trial.trial_id, {"validation_error": error(tried[-1])}
        )
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return tried


def test_a_bayesian_search_tries_no_order_of_unfreezing_twice(tmp_path):
    point = {"unfreezing": "paper"}
    oracle = _bayesian(point, 5, tmp_path)
    errors = dict(
        zip(
            space.TUNABLE["unfreezing"],
            [5.0, 5.3, 16.0, 7.0, 19.0],
            strict=True,
        )
    )
    tried = _values_tried(
        oracle, point, lambda values: errors[values["unfreezing"]]
    )
    names = [values["unfreezing"] for values in tried]
    assert len(names) == len(set(names)) >= 4


def test_a_bayesian_search_stays_within_the_interval(tmp_path):
    point = {"epochs": 12, "decay_factor": 2.6}
    oracle = _bayesian(point, 6, tmp_path)
    for end, expected in {0: (5, 1.0), 1: (50, 6.0)}.items():
        hp = keras_tuner.HyperParameters()
        space.declare(hp, point)
        hp.values.update(oracle._vector_to_values([end, end]))
        values = space.declare(hp, point)
        assert (values["epochs"], values["decay_factor"]) == expected


def test_running_trials_do_not_look_like_the_best(tmp_path):
    """Errors about 50; a process that was not fitted yet would say 1."""
    oracle = _oracle("bayesian", tmp_path)
    for _ in range(6):
        trial = oracle.create_trial("tuner0")
        oracle.update_trial(trial.trial_id, {"validation_error": 50.0})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    oracle.trials = {
        **oracle.trials,
        "9": keras_tuner.engine.trial.Trial(
            hyperparameters=oracle.get_space(), trial_id="9", status="RUNNING"
        ),
    }
    oracle.ongoing_trials = {"tuner1": oracle.trials["9"]}
    _, errors = oracle._vectorize_trials()
    assert len(errors) == 7 and min(errors) > 40
