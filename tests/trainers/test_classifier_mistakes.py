"""Every mistake a user of the classifier command can make, and its message."""

import hashlib
import io
import json
import socket
import urllib.request

import pytest
import sentencepiece

from trainers import classifier, command_line
from ulmfit_tf import models, pretrained, text
from ulmfit_tf.data import download, load_dataset

ROWS = [(f"text number {i}", "good" if i % 3 else "bad") for i in range(30)]


def csv(rows, header="text,label"):
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with data in which one thing is wrong each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ULMFIT_TF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = {
        "reviews.csv": csv(ROWS),
        "other_names.csv": csv(ROWS, "review,stars"),
        "no_header.csv": csv(ROWS[1:], ",".join(ROWS[0])),
        "one_class.csv": csv([(review, "good") for review, _ in ROWS]),
        "no_label.csv": csv([*ROWS, ("a text", ""), ("another", " ")]),
        "no_text.csv": csv([*ROWS, ("", "good")]),
        "rare.csv": csv([*ROWS, ("a text", "mixed")]),
        "every_label_once.csv": csv([(review, review) for review, _ in ROWS]),
        "mine/trec6/train_5500.label": "ABBR:exp What ?\n",
        "mine/trec6/TREC_10.label": "ABBR:exp What ?\n",
        "used/notes.txt": "mine",
        "no_run/notes.txt": "mine",
        "older/config.json": json.dumps(
            {"command": "trainers.classifier", "recipe": {"epochs": 3}}
        ),
        "shorter/config.json": json.dumps(
            {
                "command": "trainers.classifier",
                "run_version": 1,
                "recipe": {"epochs": 3},
            }
        ),
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


@pytest.fixture
def complaint(folder, caplog, capsys):
    """Runs the command; returns its message once it has ended rightly."""

    def run(arguments):
        before = {
            path for path in folder.rglob("*") if "cache" not in str(path)
        }
        with pytest.raises(SystemExit) as ended:
            command_line.run(classifier.main, arguments)
        captured = capsys.readouterr()
        message = captured.err + caplog.text
        assert ended.value.code == 2, message
        assert captured.out == ""
        assert "Traceback" not in message
        # Neither the default `runs` nor what `--output` names.
        after = {path for path in folder.rglob("*") if "cache" not in str(path)}
        assert after == before
        return message

    return run


SCRATCH = ("--pretrained", "none")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        pytest.param([], ["--dataset is needed"], id="nothing"),
        pytest.param(
            ["--dataset", "trec7"],
            ["no data set `trec7`", "Did you mean `trec6`", "tfds:NAME"],
            id="near_miss",
        ),
        pytest.param(
            ["--dataset", "trec6", "--recipe", "nowhere.json"],
            ["`--recipe nowhere.json` cannot be read", "best_recipe.json"],
            id="recipe_file",
        ),
        pytest.param(
            ["--dataset", "AG-News"], ["Did you mean `ag_news`"], id="case"
        ),
        pytest.param(
            ["--dataset", "sst2"],
            ["no data set `sst2`", "one of trec6, trec50, imdb", ".csv"],
            id="far_miss",
        ),
        pytest.param(
            ["--dataset", "review.csv"],
            ["no file or folder `review.csv`", "Did you mean `reviews.csv`"],
            id="path",
        ),
        pytest.param(
            ["--dataset", "other_names.csv"],
            ["no column `text`", "['review', 'stars']", "--text-column"],
            id="text_column",
        ),
        pytest.param(
            ["--dataset", "other_names.csv", "--text-column", "review"],
            ["no column `label`", "--label-column"],
            id="label_column",
        ),
        pytest.param(
            ["--dataset", "no_header.csv"],
            ["['text number 0', 'bad']", "first line", "column names"],
            id="no_header",
        ),
        pytest.param(
            ["--dataset", "one_class.csv"],
            ["All labels of `one_class.csv` are the same: ['good']", "two cl"],
            id="one_class",
        ),
        pytest.param(
            ["--dataset", "no_label.csv"],
            ["2 rows", "no label: lines 32, 33", "`unlabelled.csv`"],
            id="rows_without_label",
        ),
        pytest.param(
            ["--dataset", "no_text.csv"],
            ["1 rows", "no text or no label: lines 32", "Remove the rows"],
            id="rows_without_text",
        ),
        pytest.param(
            ["--dataset", "rare.csv"],
            ["`mixed` (1)", "at least 3", "merge them"],
            id="class_too_small",
        ),
        pytest.param(
            ["--dataset", "every_label_once.csv"],
            ["30 classes in 30 examples", "label column is the right one"],
            id="label_column_of_texts",
        ),
        pytest.param(
            ["--dataset", "trec6", "--data-dir", "mine"],
            [
                "`mine/trec6/train_5500.label`",
                "not the official file",
                "sha256",
            ],
            id="wrong_hash",
        ),
        pytest.param(
            ["--dataset", "trec6", "--data-dir", "nowhere"],
            ["data folder `nowhere` does not exist", "--data-dir"],
            id="data_folder",
        ),
        pytest.param(
            ["--dataset", "questions", "--num-labels", "7"],
            ["7 labels of", "two of each class", "12 are enough"],
            id="fewer_labels_than_classes",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--test-fraction", "1"],
            ["`test_fraction` must lie between 0 and 1"],
            id="test_fraction",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--seed", "-1"],
            ["`--seed` must lie between 0 and"],
            id="seed",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--batch-size", "1"],
            ["`--batch-size` must lie between 2"],
            id="batch_of_one",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--epochs", "many"],
            ["argument --epochs: invalid int value: 'many'"],
            id="no_number",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--pre", "none"],
            ["unrecognized arguments: --pre"],
            id="shortened_flag",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", *SCRATCH, "--epochs", "3"]
            + ["--unfreezing", "paper"],
            ["`--unfreezing`", "Train for 4 epochs or more"],
            id="too_few_epochs_to_unfreeze",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--unfreezing", "slow"],
            ["--unfreezing", "chain-thaw"],
            id="unfreezing",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--class-weights", "equal"],
            ["--class-weights", "balanced"],
            id="class_weights",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--pooled-length", "100"],
            ["multiple of 70"],
            id="pooled_length",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", *SCRATCH, "--preset", "huge"],
            ["`--preset` must be one of paper, compact, small"],
            id="preset",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--preset", "paper"],
            ["--preset is for a model from scratch", "--pretrained none"],
            id="preset_beside_pretrained",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--pretrained", "nowhere"],
            ["no pretrained forward language model in nowhere", "compact"],
            id="pretrained",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--pretrained", "compact", "none"],
            ["--pretrained takes names and folders, or none alone"],
            id="pretrained_and_none",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", *SCRATCH, "--vocabulary-size", "20"]
            + ["--tokenizer", "sentencepiece"],
            ["`--vocabulary-size`", "Received: vocabulary_size=20"],
            id="too_few_pieces",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--checkpoint-seconds", "nan"],
            ["--checkpoint-seconds: must be 0 or more. Received: nan"],
            id="time_between_states",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--checkpoint-seconds", "-1"]
            + ["--output", "new"],
            ["--checkpoint-seconds: must be 0 or more. Received: -1"],
            id="negative_time",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--label-separator", ";"],
            ["--label-separator is for --multi-label"],
            id="separator_of_nothing",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--bidirectional"]
            + ["--direction", "backward"],
            ["--bidirectional reads both ways; leave out --direction"],
            id="two_directions_and_one",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--pseudo-labels", "-1"],
            ["--pseudo-labels takes a number of texts"],
            id="fewer_pseudo_labels_than_none",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--pseudo-labels", "9"]
            + ["--multi-label"],
            ["--pseudo-labels", "leave it out with --multi-label"],
            id="pseudo_labels_of_label_sets",
        ),
        pytest.param(
            ["--dataset", "trec6", "--text-column", "question"],
            ["`--text-column`, `--label-column`", "`trec6`", "leave them out"],
            id="column_of_a_registered_set",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--output", "x" * 300],
            ["`--output xxx", "File name too long"],
            id="long_output",
        ),
        pytest.param(
            ["--resume", "x" * 300],
            ["`--resume xxx", "File name too long"],
            id="long_resume",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--pretrained", "A text. " * 50],
            ["`A text.", "cannot be looked up", "shipped model"],
            id="text_for_a_model",
        ),
        pytest.param(
            ["--dataset", "reviews.csv", "--output", "used"],
            ["`--output used` exists and is not empty", "--resume used"],
            id="used_output",
        ),
        pytest.param(
            ["--resume", "no_run"], ["no config.json"], id="no_run_to_resume"
        ),
        pytest.param(
            ["--resume", "older"],
            ["another release of this project began", "start a new run"],
            id="resume_of_an_older_release",
        ),
        pytest.param(
            ["--resume", "shorter"],
            ["its recipe lacks ['activation_l2', ", "Start a new run"],
            id="resume_with_fewer_settings",
        ),
        pytest.param(
            ["--resume", "no_run", "--epochs", "9"],
            ["leave out --epochs"],
            id="resume_with_other_settings",
        ),
    ],
)
def test_a_mistake_ends_with_status_2_and_a_message(
    complaint, arguments, expected
):
    message = complaint(arguments)
    for part in expected:
        assert part in message


@pytest.mark.parametrize("way", ["variable", "file"])
def test_another_backend_of_keras(complaint, folder, monkeypatch, way):
    monkeypatch.setenv("KERAS_HOME", str(folder))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if way == "variable":
        monkeypatch.setenv("KERAS_BACKEND", "jax")
    else:
        (folder / "keras.json").write_text('{"backend": "jax"}')
    message = complaint(["--dataset", "reviews.csv", "--output", "run"])
    named = {"variable": "KERAS_BACKEND", "file": str(folder / "keras.json")}
    assert f"`{named[way]}` makes `jax` the backend of Keras" in message
    assert "KERAS_BACKEND=tensorflow" in message


def test_runs_of_one_second_have_folders_of_their_own(folder, monkeypatch):
    monkeypatch.setattr(command_line.time, "strftime", lambda format: "now")
    folders = [command_line.new_run_folder("trec6") for _ in range(3)]
    assert folders == ["runs/trec6-now", "runs/trec6-now-2", "runs/trec6-now-3"]
    assert all((folder / each).is_dir() for each in folders)


def test_a_test_fraction_that_is_not_used_is_told(caplog):
    load_dataset("questions", test_fraction=0.3)
    assert "`--test-fraction` is not used" in caplog.text
    caplog.clear()
    load_dataset("questions")
    assert "--test-fraction" not in caplog.text


def test_no_network(complaint, folder, monkeypatch):
    # A proxy that nobody listens on: nothing leaves this machine.
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for variable in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, address)
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(download, "BACK_OFF_SECONDS", 0.0)
        # An opener made by an earlier test knows of no proxy.
        monkeypatch.setattr(urllib.request, "_opener", None)
        message = complaint(["--dataset", "trec6", "--output", "run"])
    for part in (
        "`trec6` are not on this machine and could not be downloaded",
        "Connection refused",
        "`https://cogcomp.seas.upenn.edu/Data/QA/QC/train_5500.label`",
        "`https://cogcomp.seas.upenn.edu/Data/QA/QC/TREC_10.label`",
        "put the files into `DIR/trec6/` and pass `--data-dir DIR`",
        f"`{folder / 'cache/ulmfit_tf/trec6'}`",
        "`--dataset questions`",
    ):
        assert part in message


def _bpe_model():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([review for review, _ in ROWS]),
        model_writer=model,
        model_type="bpe",
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


def test_a_language_model_with_a_bpe_tokenizer(complaint, folder):
    tokenizer = text.SentencePieceTokenizer(
        text.train_sentencepiece([review for review, _ in ROWS], 60)
    )
    architecture = models.ARCHITECTURES["tiny"]
    model = models.LanguageModel(
        len(tokenizer.vocabulary), architecture, batch_size=1
    )
    model.build()
    directory = folder / "language_model"
    pretrained.PretrainedLanguageModel(
        architecture,
        "forward",
        tokenizer,
        models.get_weights(models.language_model_weights(model)),
    ).save_to_preset(directory)
    # As if somebody had put a tokenizer of his own there, hashes and all.
    content = _bpe_model()
    (directory / "tokenizer.model").write_bytes(content)
    description = directory / "tokenizer.json"
    own = json.loads(description.read_text())
    own["sha256"] = hashlib.sha256(content).hexdigest()
    description.write_text(json.dumps(own))
    config = json.loads((directory / "config.json").read_text())
    for name in ("tokenizer.model", "tokenizer.json"):
        content = (directory / name).read_bytes()
        config["sha256"][name] = hashlib.sha256(content).hexdigest()
    (directory / "config.json").write_text(json.dumps(config))
    message = complaint(
        ["--dataset", "reviews.csv", "--pretrained", str(directory)]
    )
    assert f"`--pretrained`: `{directory}` cannot be read" in message
    assert "its tokenizer cannot be used" in message
    assert "must be a SentencePiece unigram model" in message
    assert "Received: model_type=BPE" in message
