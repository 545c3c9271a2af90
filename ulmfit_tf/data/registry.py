"""Data sets by name, by TensorFlow Datasets name, or by path."""

import dataclasses
import difflib
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ulmfit_tf.data import official, readers
from ulmfit_tf.data.dataset import TextDataset
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.label_columns import label_columns
from ulmfit_tf.data.sources import Layout, Source, resolve
from ulmfit_tf.data.splits import (
    hold_out_test,
    repeated_texts,
    without_held_out,
)
from ulmfit_tf.data.task_type import LABEL_SEPARATOR
from ulmfit_tf.data.undecodable import with_note_of_undecodable

logger = logging.getLogger(__name__)

_FAST_AI = "https://s3.amazonaws.com/fast-ai-nlp/"
_TREC = "https://cogcomp.seas.upenn.edu/Data/QA/QC/"
_WITHOUT_NETWORK = (
    " To try the project without network, use `--dataset questions`."
)


@dataclasses.dataclass(frozen=True)
class RegisteredDataset:
    """How to get and read one registered data set.

    Args:
        source: Its files.
        read: Reads `(name, paths)`.
        rows: Official number of training, test and unlabelled texts, or
            `None` if not to be checked.
    """

    source: Source
    read: Callable[[str, list[Path]], TextDataset]
    rows: tuple[int, int, int] | None = None


def _trec(name, fine):
    source = Source(
        name=name,
        folders=("trec6", "trec", "trec50"),
        layouts=(Layout(("train_5500.label", "TREC_10.label")),),
        addresses=(_TREC + "train_5500.label", _TREC + "TREC_10.label"),
        sha256={
            "train_5500.label": "9e4c8bdcaffb96ed61041bd64b564183"
            "d52793a8e91d84fc3a8646885f466ec3",
            "TREC_10.label": "033f22c028c2bbba9ca682f68ffe204d"
            "c1aa6e1cf35dd6207f2d4ca67f0d0e8e",
        },
    )
    read = functools.partial(official.read_trec, fine=fine)
    return RegisteredDataset(source, read, rows=(5_452, 500, 0))


def _zhang(
    name,
    archive,
    classes,
    rows,
    unescape=official.unescape_line_breaks,
    sha256=None,
    partial_layouts=(),
):
    # Official numbers of rows: Zhang, Zhao & LeCun (2015), table 3.
    source = Source(
        name=name,
        folders=(name, archive),
        layouts=(
            Layout(("train.csv", "test.csv")),
            Layout((f"{archive}.tgz",)),
            *partial_layouts,
        ),
        addresses=(f"{_FAST_AI}{archive}.tgz",),
        sha256=sha256 or {},
    )
    read = functools.partial(
        official.read_zhang_csv, classes=classes, unescape=unescape
    )
    return RegisteredDataset(source, read, rows=(*rows, 0))


_TEST_FRACTION = 0.1

DATASETS: dict[str, RegisteredDataset] = {
    "trec6": _trec("trec6", fine=False),
    "trec50": _trec("trec50", fine=True),
    # Numbers of reviews: Maas et al. (2011), section 4.1.
    "imdb": RegisteredDataset(
        Source(
            name="imdb",
            folders=("imdb",),
            layouts=(
                Layout(("aclImdb",)),
                Layout(("aclImdb_v1.tar.gz",)),
                Layout(("aclImdb_v1.tar.xz",)),
                Layout(("aclImdb.tar.xz",)),
            ),
            addresses=(
                "https://ai.stanford.edu/~amaas/data/sentiment/"
                "aclImdb_v1.tar.gz",
            ),
        ),
        official.read_imdb,
        rows=(25_000, 25_000, 50_000),
    ),
    "ag_news": _zhang(
        "ag_news",
        "ag_news_csv",
        classes=("World", "Sports", "Business", "Sci/Tech"),
        rows=(120_000, 7_600),
        unescape=official.unescape_ag_news,
        sha256={
            "test.csv": "521465c2428ed7f02f8d6db6ffdd4b54"
            "47c1c701962353eb2c40d548c3c85699",
        },
        partial_layouts=(
            Layout(
                ("train_subset.csv", "test.csv"),
                partial="`train_subset.csv` is a subset of the 120,000 "
                "official training rows",
            ),
        ),
    ),
    "dbpedia": _zhang(
        "dbpedia",
        "dbpedia_csv",
        classes=(
            "Company",
            "EducationalInstitution",
            "Artist",
            "Athlete",
            "OfficeHolder",
            "MeanOfTransportation",
            "Building",
            "NaturalPlace",
            "Village",
            "Animal",
            "Plant",
            "Album",
            "Film",
            "WrittenWork",
        ),
        rows=(560_000, 70_000),
    ),
    "yelp_polarity": _zhang(
        "yelp_polarity",
        "yelp_review_polarity_csv",
        classes=("negative", "positive"),
        rows=(560_000, 38_000),
    ),
    "yelp_full": _zhang(
        "yelp_full",
        "yelp_review_full_csv",
        classes=("1 star", "2 stars", "3 stars", "4 stars", "5 stars"),
        rows=(650_000, 50_000),
    ),
    "questions": RegisteredDataset(
        Source(
            name="questions",
            folders=("questions",),
            layouts=(Layout(("train.tsv", "test.tsv")),),
        ),
        official.read_questions,
    ),
}


def load_dataset(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    text_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    cache_dir: str | Path | None = None,
    test_fraction: float = _TEST_FRACTION,
    seed: int = 0,
    multi_label: bool = False,
    label_separator: str = LABEL_SEPARATOR,
) -> TextDataset:
    """Loads a data set for text classification.

    Args:
        name_or_path: A registered name (see `DATASETS`), `tfds:NAME`, a
            `.csv`, `.tsv` or `.jsonl` file, or a folder (see
            `ulmfit_tf.data.readers.read_path`).
        data_dir: Folder to look for registered data in, before
            `$ULMFIT_TF_DATA` and the cache. What is in none of them is
            downloaded into the cache; for `tfds:NAME` TensorFlow Datasets'
            own folder takes its place.
        text_column: Column or feature that holds the text. Default for
            files: `text`; for `tfds:NAME`: `text`, or the only text feature.
            Not for registered names.
        label_column: Column or feature that holds the label. Default:
            `label`. Not for registered names. With `multi_label` also
            several columns of 0 and 1, one a class.
        cache_dir: Cache folder. Default: `$XDG_CACHE_HOME/ulmfit_tf` or
            `~/.cache/ulmfit_tf`.
        test_fraction: Fraction of the training examples to hold out,
            stratified, as the test split of data without one; 0 for none.
        seed: Seed of that split.
        multi_label: Whether a text has any number of labels; for files.
        label_separator: What stands between the labels of one column.

    Raises:
        DataError: If there is no such data set, or it cannot be used.

    Example:

    ```python
    dataset = load_dataset("reviews.csv", text_column="review")
    ```
    """
    if not 0 <= test_fraction < 1:
        raise DataError(
            "`test_fraction` must lie between 0 and 1: it is the fraction "
            "of the training examples to hold out. "
            f"Received: {test_fraction}."
        )
    name = str(name_or_path)
    columns = label_columns(label_column, multi_label, label_separator)
    if multi_label and (name in DATASETS or name.startswith("tfds:")):
        raise DataError(
            f"`--multi-label`: the texts of `{name}` have one label each. "
            "Expected a file or folder of your own, whose texts may have "
            "several. Leave the flag out."
        )
    if name in DATASETS and (text_column or label_column):
        raise DataError(
            f"`--text-column`, `--label-column`: what the texts and labels of "
            f"`{name}` are is known. They are for files of your own; leave "
            "them out."
        )
    if name in DATASETS:
        dataset = _load_registered(DATASETS[name], data_dir, cache_dir)
    elif name.startswith("tfds:"):
        # TensorFlow Datasets is slow to import.
        from ulmfit_tf.data.tfds_reader import read_tfds

        dataset = read_tfds(
            name.removeprefix("tfds:"),
            data_dir,
            text_column,
            columns.columns[0] if label_column else None,
        )
    else:
        dataset = readers.read_path(
            _existing_path(name), text_column or "text", columns
        )
        dataset = with_note_of_undecodable(dataset)
    if dataset.test_texts is None and test_fraction:
        dataset = hold_out_test(dataset, test_fraction, seed)
        dataset = without_held_out(dataset, dataset.test_texts or [], "test")
    elif test_fraction not in (0, _TEST_FRACTION):
        logger.warning(
            "`%s` has a test split, so no other one is held out: "
            "`--test-fraction` is not used.",
            dataset.name,
        )
    dataset = _with_note_of_repeated(dataset)
    for note in dataset.notes:
        logger.warning(note)
    return dataset


def _with_note_of_repeated(dataset):
    """Says how many test texts a model is trained on."""
    tests = dataset.test_texts or []
    notes = list(dataset.notes)
    count = repeated_texts(tests, dataset.train_texts)
    if count:
        notes.append(
            f"{count} of the {len(tests)} test texts of `{dataset.name}` are "
            "training texts as well, and so easier than new ones."
        )
    count = repeated_texts(tests, dataset.unlabelled_texts)
    if count:
        notes.append(
            f"{count} of the {len(tests)} test texts of `{dataset.name}` are "
            "among its unlabelled texts as well, which the language model "
            "reads."
        )
    return dataclasses.replace(dataset, notes=tuple(notes))


def _load_registered(registered, data_dir, cache_dir):
    source = registered.source
    if source.name == "questions":
        # Part of the package, so never looked for elsewhere.
        data_dir = Path(__file__).parent
    layout, paths = resolve(source, data_dir, cache_dir, _WITHOUT_NETWORK)
    dataset = registered.read(source.name, paths)
    received = (
        len(dataset.train_texts),
        len(dataset.test_texts or ()),
        len(dataset.unlabelled_texts),
    )
    if layout.partial:
        note = f"`{source.name}`: {layout.partial} ({received[0]:,} rows)."
        return dataclasses.replace(dataset, notes=(*dataset.notes, note))
    if registered.rows and received != registered.rows:
        raise DataError(
            f"{', '.join(f'`{path}`' for path in paths)} does not hold the "
            f"official `{source.name}`. Expected (training, test, "
            f"unlabelled texts): {registered.rows}. Received: {received}. "
            "It may be cut short: delete it and fetch it again. To use a "
            "part of the data, pass its path as the data set."
        )
    return dataset


def _existing_path(name):
    try:
        path = Path(name).expanduser()
        if path.exists():
            return path
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"The data set `{name:.80}` is no path that can be looked up: "
            f"{str(error):.200}. Expected: the path of a file or folder."
        ) from error
    if path.suffix or len(path.parts) > 1:
        siblings = path.parent.iterdir() if path.parent.is_dir() else ()
        raise DataError(
            f"There is no file or folder `{path}`."
            + _did_you_mean(path.name, [each.name for each in siblings])
            + " Check the path."
        )
    raise DataError(
        f"There is no data set `{name}`."
        + _did_you_mean(name, DATASETS)
        + f" Expected: one of {', '.join(DATASETS)}; `tfds:NAME` for one of "
        "TensorFlow Datasets; or the path of a .csv, .tsv or .jsonl file or "
        "of a folder with one subfolder per class."
    )


def _did_you_mean(name, known):
    near = difflib.get_close_matches(name.lower(), list(known), n=3)
    return (
        f" Did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
    )
