import html
import html.parser
import json
import re
import shlex
import shutil
import subprocess
import zlib

import numpy as np
import pytest
import tensorflow as tf

from trainers.recipes import Recipe
from trainers.report import Predictions, write_report
from trainers.report.report import _distinct
from trainers.report.scores import task_scores
from trainers.thresholds import undecided
from ulmfit_tf import text
from ulmfit_tf.data.dataset import TextDataset

_HOSTILE = '<script>document.title = "taken"</script>'
_IMAGE = "\"'><img src=x onerror='document.title=\"taken\"'>"
_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class _Guessing:
    """Answers by a text's checksum, which is as good as a model's here."""

    def __init__(self, num_classes, texts, decision):
        self.num_classes = num_classes
        self.decision = decision
        counts = text.count_tokens(text.split_words, texts)
        self.tokenizer = text.WordTokenizer(text.Vocabulary.build(counts, 40))

    def predict(self, texts):
        seeds = [zlib.crc32(each.encode()) for each in texts]
        rows = [
            np.random.default_rng(seed).dirichlet(
                [2.0, *[0.3] * (self.num_classes - 1)]
            )
            for seed in seeds
        ]
        return np.array(rows, "float32")


def _texts(number, seed):
    rng = np.random.default_rng(seed)
    words = ["$x$", "&amp;", "naïve", "東京は", "שלום", _HOSTILE, "a", "river"]
    return [
        " ".join(rng.choice(words, rng.integers(0, 90))) for _ in range(number)
    ] + [_HOSTILE, _IMAGE, "", "x" * 3000]


def _records(direction, recipe, num_groups):
    def epochs(number, keys, groups):
        return [
            {
                "epoch": epoch,
                **{key: 3.0 / (epoch + 1) for key in keys},
                **{
                    f"learning_rate/group_{group}": 0.001 * 2.6**group
                    for group in range(groups)
                },
            }
            for epoch in range(number)
        ]

    keys = ["loss", "accuracy", "val_loss", "val_accuracy"]
    return {
        f"{direction}_pretraining": [
            {"million_tokens": 40.0 * part, "perplexity": 300.0 / part}
            for part in range(1, 9)
        ],
        f"{direction}_language_model": epochs(
            recipe.language_model_epochs, ["loss", "perplexity"], num_groups - 1
        ),
        f"{direction}_classifier": epochs(recipe.epochs, keys, num_groups),
    }


def _write(
    path, num_classes, with_test, directions, multi_label=False, **fields
):
    classes = [f"class:{i} {'long ' * (i % 7)}" for i in range(num_classes)]
    classes[:3] = [_HOSTILE, _IMAGE, "$\\frac$"][:num_classes]
    train, validation, test = (_texts(n, n) for n in (90, 120, 300))
    labels = np.arange(len(train)) % num_classes
    dataset = TextDataset(
        _HOSTILE,
        tuple(classes),
        train,
        np.eye(num_classes, dtype=bool)[labels] if multi_label else labels,
        notes=(_IMAGE,),
        label_separator="||",
    )
    decision = undecided(dataset)
    classifier = _Guessing(num_classes, train, decision)

    def answers(split, texts):
        probabilities = classifier.predict(texts)
        labels = decision.answers(probabilities)
        labels[::3] = multi_label or min(3, num_classes - 1)
        return Predictions.judged(split, texts, labels, probabilities, decision)

    recipe = Recipe(**fields)
    records = {}
    for direction in directions:
        records |= _records(direction, recipe, 5)
    on_validation = answers("validation", validation)
    on_test = answers("test", test) if with_test else None
    write_report(
        path,
        classifier=classifier,
        validation=on_validation,
        test=on_test,
        dataset=dataset,
        recipe=recipe,
        settings={
            "dataset": f"my data/{_IMAGE}.csv",
            "data_dir": None,
            "pretrained": ["compact", _HOSTILE],
            "recipe": vars(recipe),
        },
        records=records,
        scores={
            split.split: task_scores(split)
            for split in (on_validation, on_test)
            if split
        },
        figures={
            "seconds": 61.7,
            "saved_model": "runs/my run/saved_model/1",
        },
    )
    return path


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    path = tmp_path_factory.mktemp("tested") / "report.html"
    return _write(path, 6, True, ["forward"])


@pytest.fixture(scope="module")
def untested(tmp_path_factory):
    path = tmp_path_factory.mktemp("untested") / "report.html"
    return _write(
        path,
        50,
        False,
        ["forward", "backward"],
        language_model_epochs=0,
        epochs=9,
        unfreezing="chain-thaw",
        early_stopping=2,
    )


@pytest.fixture(scope="module")
def label_sets(tmp_path_factory):
    path = tmp_path_factory.mktemp("label_sets") / "report.html"
    return _write(path, 23, True, ["forward"], multi_label=True)


@pytest.fixture(params=["tested", "untested", "label_sets"])
def report(request):
    return request.getfixturevalue(request.param)


class _Page(html.parser.HTMLParser):
    """What a browser would load, run and show of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.styles, self.shown = [], [], [], []
        self.in_style = False
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.shown).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.in_style = tag == "style"

    def handle_endtag(self, tag):
        self.in_style = False

    def handle_data(self, data):
        (self.styles if self.in_style else self.shown).append(data)


def test_nothing_is_loaded(report):
    page = _Page(report)
    assert "svg" in page.tags
    assert not {"script", "img", "iframe", "object", "embed"} & set(page.tags)
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert value.startswith(("#", "data:")), (name, value)
        assert not name.startswith("on")
        if name not in ("title",):
            assert not re.search("https?:|file:", value or "")
    styles = " ".join(page.styles) + " ".join(
        value for name, value in page.attributes if name == "style"
    )
    assert "@import" not in styles and "http" not in styles
    assert set(re.findall(r"url\((.)", styles)) <= {"#"}


def test_texts_are_shown_as_they_are(report):
    page = _Page(report)
    # As a class, a text's word, a note and a setting.
    assert page.text.count(_IMAGE.replace("  ", " ")) >= 3
    assert page.text.count("<script>") >= 3
    assert "$\\frac$" in page.text


def test_everything_is_told_of_the_test_split(tested):
    shown = _Page(tested).text
    assert "Test error" in shown and "Validation error" in shown
    assert "304 tested on" in shown and "62 seconds" in shown
    assert "There is no test split" not in shown
    assert "Stage one: forward language model" in shown
    assert "Stage two: forward language model" in shown
    assert "from epoch 1 head; from epoch 2 head, LSTM 3;" in shown
    assert "occlusion" in shown
    assert "decay factor 2.6" in shown and "data dir –" in shown
    assert f"tensorflow {tf.__version__}" in shown


def test_without_a_test_split_the_report_says_so(untested):
    shown = _Page(untested).text
    assert "There is no test split" in shown
    assert "Test error" not in shown and "test split texts" not in shown
    assert "Stage three: backward classifier" in shown
    assert "Stage two" not in shown
    assert "from epoch 2 embedding; from epoch 3 LSTM 1;" in shown
    assert "lowest validation loss was kept" in shown


def test_several_labels_a_text_have_figures_of_their_own(label_sets):
    shown = _Page(label_sets).text
    assert shown.index("Micro F1") < shown.index("Test error")
    assert "Labels one by one" in shown and "go together most often" in shown
    assert "with a threshold of 50.0 %" in shown
    assert "How often a label that was answered is right" in shown
    # Of the validation split only, on which they were chosen.
    assert shown.count("; the thresholds were chosen on them") == 1


def test_calibration_is_drawn_over_what_it_is_of(label_sets, tested):
    def drawn(report):
        page = report.read_text()
        return page[page.index("<h2>Calibration") : page.index("<h2>Texts of")]

    for section, names, others in (
        (
            drawn(label_sets),
            ("right labels", "probability"),
            "accuracy",
        ),
        (drawn(tested), ("accuracy", "confidence"), "right labels"),
    ):
        assert all(f">{name}</text>" in section for name in names)
        assert f">{others}</text>" not in section


def test_two_classes_have_figures_of_the_second(tmp_path):
    path = _write(tmp_path / "report.html", 2, True, ["forward"])
    shown = _Page(path).text
    assert f"F1 of {_IMAGE}" in shown and "Area under ROC" in shown
    assert "Labels one by one" not in shown


def test_the_commands_survive_a_shell(tested):
    page = tested.read_text(encoding="utf-8")
    server, client = (
        shlex.split(html.unescape(command).replace("\\\n", " "))
        for command in re.findall("<pre><code>(.*?)</code>", page, re.DOTALL)
    )
    assert server[:5] == [
        *("python", "-m", "serving.server"),
        *("--model-base-path", "runs/my run/saved_model"),
    ]
    name = server[server.index("--model-name") + 1]
    assert re.fullmatch("[A-Za-z0-9_]+", name)
    assert client == [
        *("python", "-m", "serving.client", "--target", "localhost:8500"),
        *("--model", name, "A text to classify"),
    ]


def test_the_file_appears_whole(tested):
    assert [path.name for path in tested.parent.iterdir()] == ["report.html"]
    assert tested.read_text(encoding="utf-8").endswith("</html>")


def test_answers_all_right_or_not_numbers_are_reported(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    monkeypatch.setattr(
        _Guessing,
        "predict",
        lambda self, texts: np.full((len(texts), self.num_classes), np.nan),
    )
    _write(path, 70, True, ["forward"], unfreezing="full")
    assert "too many classes for a matrix" in _Page(path).text
    monkeypatch.setattr(
        _Guessing,
        "predict",
        lambda self, texts: np.eye(self.num_classes)[[3] * len(texts)],
    )
    _write(path, 4, True, ["forward"], epochs=5)
    assert "None." in _Page(path).text


def _browse(path, width, *options):
    return subprocess.run(
        [
            _CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu"),
            *("--enable-logging=stderr", "--hide-scrollbars"),
            f"--user-data-dir={path.parent / 'profile'}",
            f"--window-size={width},900",
            *options,
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


# Runs in a frame of the given width: a window has a least width.
_MEASURE = """<!doctype html><title>untouched</title><body>
<iframe style="width: {width}px; height: 900px; border: 0"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const root = frame.contentDocument.documentElement;
  document.body.dataset.title = frame.contentDocument.title;
  document.body.dataset.widths = [root.clientWidth, root.scrollWidth];
  // Numbers, and the parts of a bar, that are not on one line.
  const tops = (cell) => {{
    const range = frame.contentDocument.createRange();
    range.selectNodeContents(cell);
    const rectangles = [...range.getClientRects()];
    return new Set(rectangles.map((each) => each.top)).size;
  }};
  const cells = root.querySelectorAll(".matrix td, .number, .stacked");
  document.body.dataset.cells = cells.length;
  document.body.dataset.broken = [...cells].filter((c) => tops(c) > 1).length;
}};
frame.srcdoc = {source};
</script>"""


@pytest.mark.skipif(_CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it_without_overflow(report, tmp_path, width):
    source = re.sub(
        r"<meta http-equiv[^>]*>", "", report.read_text(encoding="utf-8")
    )
    page = tmp_path / "measured.html"
    page.write_text(
        _MEASURE.format(
            width=width, source=json.dumps(source).replace("</", "<\\/")
        ),
        encoding="utf-8",
    )
    dumped = _browse(page, 1400, "--dump-dom").stdout
    assert f'data-widths="{width},{width}"' in dumped
    assert int(re.search(r'data-cells="(\d+)"', dumped)[1]) > 10
    assert 'data-broken="0"' in dumped
    assert 'data-title="taken"' not in dumped and "data-title=" in dumped


@pytest.mark.skipif(_CHROMIUM is None, reason="needs Chromium")
def test_a_browser_has_nothing_to_complain_of(report, tmp_path):
    page = tmp_path / "report.html"
    shutil.copyfile(report, page)
    result = _browse(page, 1280, "--dump-dom")
    assert "<svg" in result.stdout
    assert "CONSOLE" not in result.stderr


def test_a_text_that_is_there_twice_is_shown_once():
    texts = ["a", "b", "a", "c", "b"]
    assert _distinct(np.array([4, 3, 1, 2, 0]), texts) == [4, 3, 2]
