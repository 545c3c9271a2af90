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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    TinyReviews(data_dir=folder).download_and_prepare()
    return folder


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


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("imbd_reviews", {}, "no data set `imbd_reviews`. Did.*imdb_reviews"),
        ("tiny_reviews", dict(text_column="x"), "no text feature `x`.*revi"),
        ("tiny_reviews", dict(text_column="stars"), "no text feature `stars`"),
        ("tiny_reviews:9.9.9", {}, "cannot build"),
        ("mnist", {}, "no text feature"),
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
