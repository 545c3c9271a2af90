"""Data sets of TensorFlow Datasets."""

import time

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from ulmfit_tf.data import DataError, load_dataset  # noqa: E402


class TinyReviews(tfds.core.GeneratorBasedBuilder):
    """Six reviews a split; those of `unsupervised` have no label."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "review": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=["neg", "pos"]),
                    "stars": tfds.features.Scalar(dtype=np.int64),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {
            split: self._generate_examples(split)
            for split in ("train", "test", "unsupervised")
        }

    def _generate_examples(self, split):
        for i in range(6):
            yield (
                i,
                {
                    "review": f"{split} {i % 2}",
                    "label": -1 if split == "unsupervised" else i % 2,
                    "stars": 5 * (i % 2),
                },
            )


class TinyBenchmark(tfds.core.GeneratorBasedBuilder):
    """Sentences whose test labels are hidden, shown or not there, as named."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name)
        for name in ("hidden", "shown", "none", "both_hidden")
    ]

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "label_name": tfds.features.Text(),
                    "sentence": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=["no", "yes"]),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        splits = ["train", "validation", "test"]
        if self.builder_config.name == "none":
            splits.remove("test")
        return {split: self._generate_examples(split) for split in splits}

    def _generate_examples(self, split):
        hidden = {
            "hidden": ("test",),
            "both_hidden": ("test", "validation"),
        }.get(self.builder_config.name, ())
        for i in range(20 if split == "train" else 4):
            yield (
                i,
                {
                    "label_name": ["no", "yes"][i % 2],
                    "sentence": f"{split} {i}",
                    "label": -1 if split in hidden else i % 2,
                },
            )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    TinyReviews(data_dir=folder).download_and_prepare()
    for config in TinyBenchmark.builder_configs:
        TinyBenchmark(config=config, data_dir=folder).download_and_prepare()
    return folder


def load_benchmark(prepared, config, **arguments):
    return load_dataset(
        f"tfds:tiny_benchmark/{config}",
        data_dir=prepared,
        text_column="sentence",
        **arguments,
    )


def test_splits_and_classes(prepared):
    dataset = load_dataset("tfds:tiny_reviews", data_dir=prepared)
    assert dataset.name == "tfds:tiny_reviews"
    assert dataset.classes == ("neg", "pos")
    assert sorted(dataset.train_texts) == ["train 0"] * 3 + ["train 1"] * 3
    for text, label in zip(
        dataset.test_texts, dataset.test_labels, strict=True
    ):
        assert text == f"test {label}"
    assert len(dataset.unlabelled_texts) == 6


def test_named_label_feature(prepared):
    dataset = load_dataset(
        "tfds:tiny_reviews", data_dir=prepared, label_column="stars"
    )
    assert dataset.classes == ("0", "5")


@pytest.mark.parametrize("config", ["hidden", "none"])
def test_without_labelled_test_texts_validation_texts_are_they(
    prepared, config
):
    dataset = load_benchmark(prepared, config)
    assert sorted(dataset.test_texts) == [f"validation {i}" for i in range(4)]
    assert sorted(dataset.test_labels) == [0, 0, 1, 1]
    assert len(dataset.train_texts) == 20
    (note,) = dataset.notes
    assert note == (
        f"`tfds:tiny_benchmark/{config}` has no test split with labels: its "
        "`validation` split is the test split here."
    )


def test_validation_texts_beside_labelled_test_texts_are_not_read(
    prepared, caplog
):
    dataset = load_benchmark(prepared, "shown")
    assert sorted(dataset.test_texts) == [f"test {i}" for i in range(4)]
    assert len(dataset.train_texts) == 20
    assert not dataset.unlabelled_texts and not dataset.notes
    assert (
        "hidden: validation. Texts are taken from test, train;" in caplog.text
    )


def test_without_any_labelled_texts_beside_some_are_held_out(prepared, caplog):
    dataset = load_benchmark(prepared, "both_hidden")
    assert (
        "hidden: test, validation. Texts are taken from train;" in caplog.text
    )
    assert len(dataset.test_texts) == 2 and len(dataset.train_texts) == 18
    assert "has no test split: 2 of its 20" in dataset.notes[0]


def test_a_label_that_is_a_text_is_not_taken_for_the_text(prepared):
    dataset = load_dataset(
        "tfds:tiny_benchmark/shown",
        data_dir=prepared,
        label_column="label_name",
    )
    assert dataset.classes == ("no", "yes")
    assert sorted(dataset.test_texts) == [f"test {i}" for i in range(4)]


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("imbd_reviews", {}, "no data set `imbd_reviews`. Did.*imdb_reviews"),
        ("tiny_reviews", dict(text_column="x"), "no text feature `x`.*revi"),
        ("tiny_reviews", dict(text_column="stars"), "no text feature `stars`"),
        ("tiny_reviews", dict(text_column="label"), "`label` is the label"),
        ("tiny_reviews:9.9.9", {}, "cannot build"),
        ("mnist", {}, "no text feature"),
        (
            "tiny_benchmark/shown",
            {},
            "several text features: `label_name`, `sentence`.*`--text-column`",
        ),
        # Pairs of sentences.
        ("glue/mrpc", {}, "`sentence1`, `sentence2`"),
    ],
)
def test_unusable_names(prepared, name, arguments, message):
    with pytest.raises(DataError, match=message):
        load_dataset(f"tfds:{name}", data_dir=prepared, **arguments)


def test_unknown_names_fail_fast():
    start = time.perf_counter()
    with pytest.raises(DataError, match="catalogue"):
        load_dataset("tfds:zzz")
    assert time.perf_counter() - start < 2


def test_no_network(prepared, monkeypatch, tmp_path):
    def unreachable(self, *args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(TinyReviews, "download_and_prepare", unreachable)
    with pytest.raises(DataError, match="no route.*TFDS_DATA_DIR"):
        load_dataset("tfds:tiny_reviews", data_dir=tmp_path)
