import keras_tuner
import pytest

from trainers import tune
from trainers.command_line import UserError
from trainers.experiments import oracles, space
from ulmfit_tf.training import unfreezing_stages

# KerasTuner names threads in an old way.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class _Stopped(Exception):
    pass


def test_hyperbands_shortest_trials_suit_all_ways_of_unfreezing(
    small_table, tmp_path, monkeypatch
):
    made = []

    def stop(*args, **kwargs):
        made.append((args, kwargs))
        raise _Stopped

    with monkeypatch.context() as patch:
        patch.setattr(oracles, "new_oracle", stop)
        with pytest.raises(_Stopped):
            tune.main(
                [
                    *("--dataset", str(small_table), "--pretrained", "none"),
                    *("--preset", "tiny", "--epochs", "10"),
                    *("--oracle", "hyperband", "--tune", "unfreezing"),
                    *("--output", str(tmp_path / "run")),
                ]
            )
    ((args, kwargs),) = made
    oracle = oracles.new_oracle(*args, **kwargs)
    oracle._set_project_dir(str(tmp_path), "search")
    hp = keras_tuner.HyperParameters()
    space.declare(hp, {"unfreezing": "full"})
    oracle.update_space(hp)
    tried = set()
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        values = trial.hyperparameters.values
        # Raises for too few epochs. Groups: embedding, three LSTMs, head.
        unfreezing_stages(values["unfreezing"], 5, values["tuner/epochs"])
        tried.add(values["unfreezing"])
        oracle.update_trial(trial.trial_id, {"validation_error": 1.0})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert "chain-thaw" in tried


@pytest.mark.parametrize(
    "flags, message",
    [
        pytest.param(
            ["--pretrained", "none", "--language-model-epochs", "0"]
            + ["--tune", "decay_factor,language_model_rate"],
            "`--tune language_model_rate` would change nothing",
            id="no_stage_two",
        ),
        pytest.param(
            ["--pretrained", "none", "--tune", "language_model_decay_factor"],
            "`--tune language_model_decay_factor` would change nothing",
            id="new_weights",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(
    flags, message, small_table, tmp_path
):
    run = tmp_path / "run"
    with pytest.raises(UserError, match=message):
        tune.main(
            [
                *("--dataset", str(small_table), "--preset", "tiny", *flags),
                *("--output", str(run)),
            ]
        )
    assert not run.exists()


@pytest.mark.parametrize("flag", ["--preset=paper", "--tokenizer=word"])
def test_what_a_pretrained_model_brings_is_refused(flag, capsys):
    with pytest.raises(SystemExit):
        tune.main(["--dataset", "trec6", flag])
    assert "a pretrained one brings its own" in capsys.readouterr().err


def test_a_hyperband_that_promotes_nothing_is_refused(small_table, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError, match="`--max-trials 11` or more"):
        tune.main(
            [
                *("--dataset", str(small_table), "--pretrained", "none"),
                *("--preset", "tiny", "--epochs", "50"),
                *("--oracle", "hyperband", "--output", str(run)),
            ]
        )
    assert not run.exists()


def test_a_chief_that_cannot_listen_leaves_no_folder(
    small_table, tmp_path, monkeypatch
):
    for name, value in {
        "KERASTUNER_TUNER_ID": "chief",
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": "port",
    }.items():
        monkeypatch.setenv(name, value)
    run = tmp_path / "run"
    with pytest.raises(UserError, match="cannot listen at 127.0.0.1:port"):
        tune.main(
            [
                *("--dataset", str(small_table), "--pretrained", "none"),
                *("--preset", "tiny", "--output", str(run)),
            ]
        )
    assert not run.exists()


def test_too_few_epochs_for_the_order_are_told(small_table, tmp_path):
    run = tmp_path / "run"
    flags = ["--unfreezing", "chain-thaw", "--epochs", "3", "--tune", "epochs"]
    with pytest.raises(UserError) as raised:
        tune.main(
            [
                *("--dataset", str(small_table), "--pretrained", "none"),
                *("--preset", "tiny", *flags, "--output", str(run)),
            ]
        )
    assert str(raised.value) == (
        "chain-thaw unfreezing takes 6 epochs or more, and there are 3. Give "
        "more `--epochs`."
    )


def test_hyperbands_short_trials_are_not_drawn_beside_long_ones():
    trials = {
        str(number): {"values": {"ratio": 2.0 + number, "epochs": epochs}}
        for number, epochs in enumerate([5, 10, 5, 10, 5])
    }
    drawn, hint = tune._comparable(trials)
    assert [trial["values"]["ratio"] for trial in drawn] == [3.0, 5.0]
    assert hint == ", trials of 10 epochs"
