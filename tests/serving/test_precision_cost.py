import numpy as np
import pytest

from serving import precision_cost
from serving.command_line import UserError
from ulmfit_tf import data


@pytest.mark.slow
def test_each_precision_is_measured_on_the_test_split(
    make_classifier, tmp_path
):
    dataset = data.load_dataset("questions")
    classifier = make_classifier(("forward",), dataset.classes)
    # So large that one class always has a probability of 1, whatever the
    # precision.
    classifier.weights["forward"]["head_logits/kernel"] *= 0.02
    classifier.weights["forward"]["head_logits/bias"] *= 0.02
    classifier.save_to_preset(tmp_path / "classifier")
    figures = precision_cost.main(
        ["--run-dir", str(tmp_path), "--dataset", "questions"]
    )
    assert figures["texts"] == len(dataset.test_texts)
    costs = figures["precisions"]
    assert list(costs) == list(precision_cost.PRECISIONS)
    chosen = classifier.predict(dataset.test_texts).argmax(1)
    error = 100 * np.mean(chosen != dataset.test_labels)
    assert costs["float32"]["error"] == pytest.approx(error, abs=1e-3)
    assert costs["float32"]["labels_changed"] == 0
    differences = [
        cost["largest_probability_difference"] for cost in costs.values()
    ]
    assert differences == sorted(differences)
    assert differences[0] < 1e-5 < differences[1]


def test_the_data_set_must_have_the_runs_classes(classifier, tmp_path):
    classifier.save_to_preset(tmp_path / "classifier")
    with pytest.raises(UserError, match="has the classes"):
        precision_cost.main(
            ["--run-dir", str(tmp_path), "--dataset", "questions"]
        )


@pytest.mark.parametrize("fraction, texts", [(0.25, 25), (0.1, 10), (0, None)])
def test_the_texts_are_those_that_the_run_held_out(
    make_classifier, tmp_path, monkeypatch, fraction, texts
):
    make_classifier(("forward",), ("x", "y")).save_to_preset(
        tmp_path / "classifier"
    )
    (tmp_path / "config.json").write_text(f'{{"test_fraction": {fraction}}}')
    table = tmp_path / "t.csv"
    rows = "".join(f"text {i},{'xy'[i % 2]}\n" for i in range(100))
    table.write_text("text,label\n" + rows)
    measured = []
    monkeypatch.setattr(
        precision_cost,
        "precision_costs",
        lambda classifier, texts, labels: measured.append(texts),
    )
    arguments = ["--run-dir", str(tmp_path), "--dataset", str(table)]
    if texts is None:
        with pytest.raises(UserError, match="no test split to measure on"):
            precision_cost.main(arguments)
    else:
        assert precision_cost.main(arguments)["texts"] == texts
        held_out = data.load_dataset(table, test_fraction=fraction).test_texts
        assert measured == [held_out]


@pytest.mark.parametrize(
    "run_dir, dataset, message",
    [
        ("nowhere", "questions", "no trained classifier"),
        (".", "questionz", "Did you mean `questions`"),
    ],
)
def test_mistakes_are_told(classifier, run_dir, dataset, message, tmp_path):
    classifier.save_to_preset(tmp_path / "classifier")
    with pytest.raises(UserError, match=message):
        precision_cost.main(
            ["--run-dir", str(tmp_path / run_dir), "--dataset", dataset]
        )
