"""Writes the report of a classifier run."""

import importlib.metadata
import pathlib
import platform
import re
import shlex
import tomllib

import jinja2
import numpy as np
from markupsafe import Markup, escape

from trainers.report import breakdown, influence, learning, plots
from trainers.report.figures import (
    Calibration,
    ClassScores,
    confusion_matrix,
    frequent_confusions,
    frequent_pairs,
    label_counts,
)
from trainers.report.headline import headline
from trainers.thresholds import FEWEST_POSITIVES, shares_threshold
from ulmfit_tf.data.task_type import TaskType
from ulmfit_tf.data.token_cache import tokenize_corpus
from ulmfit_tf.whole_files import written_whole

_EXAMPLES = 8
_CONFUSIONS = 12
_PAIRS = 12
# A larger matrix helps nobody; the list of confusions remains.
_MATRIX_CLASSES = 60
# Classes that are shown where there are more than that; the others unfold.
_SHOWN_CLASSES = 30
# Of the full colour, that a word gets at least: less is noise.
_LEAST_SHARE = 0.05
_SECTIONS = {
    "learning": "Learning curves",
    "confusion": "Confusion matrix",
    "labels": "Labels",
    "classes": "Classes",
    "calibration": "Calibration",
    "examples": "Texts",
    "breakdown": "Length and unknown words",
    "serving": "Serving it",
    "settings": "Settings",
}


def write_report(
    path,
    *,
    classifier,
    validation,
    test,
    dataset,
    recipe,
    settings,
    records,
    scores,
    figures,
    second=None,
):
    """Writes a run's report, one HTML file that needs nothing else.

    Reads some texts again with single words left out, to show which words
    the answers rest on.

    Args:
        path: Path of the file; it is written beside and renamed.
        classifier: `TrainedClassifier`.
        validation: `Predictions` of the validation split.
        test: `Predictions` of the test split, or `None`. Without it
            everything is told of the validation split, and the report says
            so.
        dataset: `TextDataset` with the labels that were trained on.
        recipe: `Recipe`.
        settings: Dict of the command line's settings.
        records: Dict of the stages' logs, see `learning.learning_curves`.
        scores: Dict by split of `scores.task_scores`.
        figures: Dict of the run's final figures.
        second: Optional, see `learning.learning_curves`.
    """
    shown = test or validation
    corpus = tokenize_corpus(shown.texts, classifier.tokenizer)
    matrix = confusion_matrix(shown)
    calibration = Calibration.of(shown)
    of_classes = ClassScores.of(shown)
    mistakes, hits = _examples(classifier, dataset.classes, shown)
    is_multi_label = dataset.task_type is TaskType.MULTI_LABEL
    unfolded, folded = _folded(of_classes.f1)
    html = _template().render(
        dataset=dataset,
        figures=figures,
        second=second,
        shown=shown,
        validation=validation,
        has_test=test is not None,
        cards=headline(shown, validation, scores, calibration, dataset.classes),
        is_multi_label=is_multi_label,
        scores=of_classes,
        errors_alone=_errors_alone(figures, shown.split),
        sections=[
            (anchor, name)
            for anchor, name in _SECTIONS.items()
            if is_multi_label or anchor != "labels"
        ],
        unfolded=unfolded,
        folded=folded,
        least_share=_LEAST_SHARE,
        thresholds=classifier.decision.thresholds,
        shares_threshold=shares_threshold(validation.label_flags),
        fewest_positives=FEWEST_POSITIVES,
        label_counts=label_counts(shown),
        pairs=frequent_pairs(shown, _PAIRS) if is_multi_label else [],
        calibration=calibration,
        reliability=plots.reliability(calibration, is_multi_label),
        stages=learning.learning_curves(
            records, recipe, len(dataset.train_texts), second
        ),
        matrix=matrix if len(matrix) <= _MATRIX_CLASSES else None,
        confusions=frequent_confusions(matrix, _CONFUSIONS),
        row_totals=of_classes.texts,
        mistakes=mistakes,
        hits=hits,
        by_length=breakdown.by_length(shown, corpus),
        by_unknown_words=breakdown.by_unknown_words(shown, corpus),
        settings=_flat(settings),
        versions=_versions(),
        commands=_serving_commands(settings["dataset"], figures),
    )
    with written_whole(path) as beside:
        beside.write_text(html, encoding="utf-8", errors="replace")


def _template():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["width"] = _width
    environment.filters["factor"] = _factor
    environment.filters["isolated"] = _isolated
    return environment.get_template("template.html")


def _percent(share, digits=1):
    # The blank does not break.
    return "–" if np.isnan(share) else f"{100 * share:.{digits}f}\u00a0%"


def _width(share):
    return f"{100 * np.nan_to_num(share):.1f}%"


def _factor(log_odds):
    """What the odds are multiplied by, in two digits or whole."""
    factor = np.exp(log_odds)
    number = f"{factor:.2g}" if factor < 10 else f"{factor:,.0f}"
    return f"×\u00a0{number}"


def _isolated(names):
    """Names one after another, whichever way each is written."""
    return Markup(", ").join(
        Markup("<bdi>") + escape(name) + Markup("</bdi>") for name in names
    )


def _errors_alone(figures, split):
    """Errors of each direction alone, where both were trained."""
    end = f"_{split}_error"
    return {
        name.removesuffix(end): value
        for name, value in figures.items()
        if name.endswith(end)
    }


def _folded(f1):
    """Indices of the classes to show, and of others that can be unfolded."""
    if len(f1) <= _MATRIX_CLASSES:
        return list(range(len(f1))), []
    # Undefined ones come last.
    order = np.argsort(f1, kind="stable").tolist()
    return order[:_SHOWN_CLASSES], sorted(order[_SHOWN_CLASSES:])


def _examples(classifier, classes, shown):
    """The most confident mistakes and the least confident hits."""
    order = np.argsort(shown.confidences, kind="stable")
    hits = _distinct(order[shown.hits[order]], shown.texts)
    mistakes = _distinct(order[~shown.hits[order]][::-1], shown.texts)
    chosen = np.array([*mistakes, *hits], int)
    watched = shown.watched[chosen]
    shaded = influence.shade(
        classifier,
        [shown.texts[index] for index in chosen],
        watched,
        shown.probabilities[chosen, watched],
    )

    def names(flags):
        return [classes[index] for index in np.flatnonzero(flags)]

    examples = [
        {
            "shaded": text,
            "hit": shown.hits[index],
            "labels": names(shown.label_flags[index]),
            "answers": names(shown.answer_flags[index]),
            "of_labels": shown.probabilities[index, shown.label_flags[index]],
            "watched": int(of),
            "of_watched": shown.probabilities[index, of],
        }
        for index, of, text in zip(chosen, watched, shaded, strict=True)
    ]
    return examples[: len(mistakes)], examples[len(mistakes) :]


def _distinct(order, texts):
    """The first few indices whose texts differ: data sets have copies."""
    first = {texts[index]: index for index in reversed(order)}
    return [index for index in order if first[texts[index]] == index][
        :_EXAMPLES
    ]


def _flat(settings):
    """Settings as rows of text, a recipe's fields by themselves."""
    recipe = settings["recipe"]
    # Fingerprints, a folder of the author's, and what the recipe has as well.
    unread = {
        *("command", "run_version", "data", "language_models"),
        *("working_folder", "overrides", "second_recipe"),
    }
    left_out = {"recipe", *recipe, *unread}
    if settings.get("bidirectional"):
        left_out.add("direction")
    others = {k: v for k, v in settings.items() if k not in left_out}
    rows = {}
    for name, value in {**others, **recipe}.items():
        if isinstance(value, list):
            value = " ".join(map(str, value))
        # Blanks, so that narrow screens break between words.
        rows[name.replace("_", " ")] = "–" if value is None else str(value)
    return rows


def _versions():
    return {
        "ulmfit_tf": _own_version(),
        "python": platform.python_version(),
        **{
            name: importlib.metadata.version(name)
            for name in (
                "tensorflow",
                "tensorflow-text",
                "keras",
                "numpy",
                "scikit-learn",
            )
        },
        "system": platform.platform(),
    }


def _own_version():
    # The package runs from its source folder.
    project = pathlib.Path(__file__).parents[2] / "pyproject.toml"
    try:
        return tomllib.loads(project.read_text())["project"]["version"]
    except (OSError, KeyError):
        return "unknown"


def _serving_commands(dataset, figures):
    base_path = shlex.quote(str(pathlib.Path(figures["saved_model"]).parent))
    stem = pathlib.Path(dataset).stem
    name = re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_") or "classifier"
    # A line an option, so that a narrow screen breaks none of them.
    return [
        "python -m serving.server \\\n"
        f"  --model-base-path {base_path} \\\n"
        f"  --model-name {name} \\\n"
        "  --port 8500",
        "python -m serving.client \\\n"
        "  --target localhost:8500 \\\n"
        f"  --model {name} \\\n"
        '  "A text to classify"',
    ]
