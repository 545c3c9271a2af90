"""Everything of a run that can fail for a user's mistake, before it begins."""

import dataclasses
import functools
import hashlib
import logging
from typing import Any

import numpy as np

from trainers.command_line import UserError, load_language_model
from trainers.task_text import MUCH_UNKNOWN, share_unknown, task_tokenizer
from trainers.words_in_use import WordsInUse
from ulmfit_tf import data, models, training
from ulmfit_tf.data.chunks import CHUNK_LENGTH
from ulmfit_tf.data.token_cache import TokenizedCorpus, tokenize_corpus

_log = logging.getLogger("trainers")
# Share of unknown tokens from scratch above which something is wrong: of 50
# English questions a third are, as most words stand there once.
_MOSTLY_UNKNOWN = 0.5


@dataclasses.dataclass(frozen=True)
class Task:
    """A data set, split and tokenized, and what to start from.

    Attributes:
        dataset: `TextDataset` without the validation examples.
        validation_texts: List of str.
        validation_labels: Int array.
        directions: Directions to train.
        language_models: Dict by direction of pretrained models or `None`.
        architecture: `models.Architecture`.
        tokenizer: Tokenizer of all directions.
        corpus: `TokenizedCorpus` of all text without regard to labels.
        train: The part of it to train on.
        validation: The part of it to validate on.
        fingerprint: Str that differs if texts, labels or vocabulary do.
    """

    dataset: data.TextDataset
    validation_texts: list[str]
    validation_labels: np.ndarray
    directions: list[str]
    language_models: dict
    architecture: models.Architecture
    tokenizer: Any
    corpus: TokenizedCorpus
    train: TokenizedCorpus
    validation: TokenizedCorpus
    fingerprint: str

    @functools.cached_property
    def words_in_use(self):
        """`WordsInUse` of the texts to train and to validate on."""
        return WordsInUse(
            (self.train, self.validation), len(self.tokenizer.vocabulary)
        )

    @functools.cached_property
    def language_models_fingerprint(self):
        """Str that differs if what is started from does."""
        arrays = []
        for direction in self.directions:
            model = self.language_models[direction]
            weights = model.weights if model else {}
            arrays += [weights[name] for name in sorted(weights)]
        return _fingerprint("", *arrays)

    def fewest_epochs(self, method):
        """Returns the epochs that a way of unfreezing takes at least."""
        return _fewest_epochs(method, self.architecture)


def prepare_task(dataset, recipe, settings, check_unfreezing=True):
    """Splits and tokenizes a data set, and loads what to start from.

    Args:
        dataset: `TextDataset`.
        recipe: `Recipe`.
        settings: Namespace of the command line's other settings.
        check_unfreezing: Bool, whether the recipe must have the epochs that
            its way of unfreezing takes; not where others will be trained.

    Returns:
        A `Task`.

    Raises:
        UserError: If a setting or a pretrained model does not fit.
        DataError: If the data cannot be used.
    """
    start = _starting_point(recipe, settings, check_unfreezing)
    dataset, texts, labels = dataset.split_validation(
        recipe.validation_fraction, settings.seed
    )
    return _tokenized(dataset, texts, labels, recipe, settings, start)


def prepare_split_task(
    dataset, validation_texts, validation_labels, recipe, settings
):
    """Tokenizes a data set that is split already.

    Unlike in `prepare_task`, neither the vocabulary nor stage two sees the
    validation texts.

    Args:
        dataset: `TextDataset` without the validation examples.
        validation_texts: List of str.
        validation_labels: Int array.
        recipe: `Recipe`.
        settings: Namespace of the command line's other settings.

    Returns:
        A `Task`.

    Raises:
        UserError: If a setting or a pretrained model does not fit.
    """
    return _tokenized(
        dataset,
        validation_texts,
        validation_labels,
        recipe,
        settings,
        _starting_point(recipe, settings),
        read_validation=False,
    )


def _starting_point(recipe, settings, check_unfreezing=True):
    directions = (
        ["forward", "backward"]
        if settings.bidirectional
        else [settings.direction]
    )
    language_models = _load_language_models(settings.pretrained, directions)
    architecture = _architecture(language_models, settings)
    if check_unfreezing:
        _check_unfreezing(recipe, architecture)
    if recipe.pooled_length % CHUNK_LENGTH:
        raise UserError(
            f"`--pooled-length` must be a multiple of {CHUNK_LENGTH}, the "
            f"length of a chunk. Received: {recipe.pooled_length}."
        )
    return directions, language_models, architecture


def _tokenized(
    dataset,
    validation_texts,
    validation_labels,
    recipe,
    settings,
    start,
    read_validation=True,
):
    directions, language_models, architecture = start
    texts = [
        *dataset.train_texts,
        *(validation_texts if read_validation else ()),
        *dataset.unlabelled_texts,
    ]
    try:
        tokenizer = task_tokenizer(
            texts,
            language_models[directions[0]],
            recipe.vocabulary_size,
            recipe.min_frequency,
            settings.tokenizer,
        )
    except ValueError as error:
        raise UserError(f"`--vocabulary-size`: {error}") from error
    corpus = tokenize_corpus(texts, tokenizer)
    ends = np.cumsum([len(dataset.train_texts), len(validation_texts)])
    _log.info(
        "%s: %d texts to train on, %d to validate on, %d without a label; "
        "%s tokens, %s words, %.1f %% of the tokens unknown",
        dataset.name,
        ends[0],
        len(validation_texts),
        len(dataset.unlabelled_texts),
        f"{corpus.num_tokens:,}",
        f"{len(tokenizer.vocabulary):,}",
        100 * share_unknown(corpus.token_ids, tokenizer),
    )
    notes = [
        note_of_unknown(corpus, tokenizer, language_models[directions[0]]),
        note_of_repeated(validation_texts, dataset),
    ]
    for note in filter(None, notes):
        _log.warning(note)
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, note))
    return Task(
        dataset=dataset,
        validation_texts=validation_texts,
        validation_labels=validation_labels,
        directions=directions,
        language_models=language_models,
        architecture=architecture,
        tokenizer=tokenizer,
        corpus=corpus,
        train=_part(corpus, 0, ends[0]),
        validation=(
            _part(corpus, ends[0], ends[1])
            if read_validation
            else tokenize_corpus(validation_texts, tokenizer)
        ),
        fingerprint=_fingerprint(
            tokenizer.vocabulary.fingerprint(),
            corpus.token_ids,
            corpus.offsets,
            dataset.train_labels,
            validation_labels,
            *_test_split(dataset),
        ),
    )


def note_of_unknown(corpus, tokenizer, pretrained):
    """Says that few of a task's words are known, `""` if they are not few.

    Args:
        corpus: `TokenizedCorpus` of the task.
        tokenizer: The task's tokenizer.
        pretrained: Optional `PretrainedLanguageModel`.
    """
    share = share_unknown(corpus.token_ids, tokenizer, pretrained)
    if share <= (MUCH_UNKNOWN if pretrained else _MOSTLY_UNKNOWN):
        return ""
    if pretrained is None:
        return (
            f"{100 * share:.0f} % of the tokens are unknown: too rare for "
            "`--min-frequency`, or too many for `--vocabulary-size`. For a "
            "language that sets no blanks between words take `--tokenizer "
            "sentencepiece`."
        )
    return (
        f"The pretrained language model does not know {100 * share:.0f} % of "
        "the tokens, and helps little then. Is it one of the texts' language? "
        "`compact` is English. `python -m trainers.language_model` trains one "
        "on any text, and `--pretrained none` does without (with `--tokenizer "
        "sentencepiece` where no blanks stand between words)."
    )


def note_of_repeated(validation_texts, dataset):
    """Says how many validation texts a model is trained on, `""` if none."""
    count = data.repeated_texts(validation_texts, dataset.train_texts)
    if not count:
        return ""
    return (
        f"{count} of the {len(validation_texts)} validation texts are training "
        "texts as well, and so easier than new ones."
    )


def _test_split(dataset):
    """Returns arrays that differ if classes, test texts or labels do."""
    texts = [*dataset.classes, "", *(dataset.test_texts or ())]
    content = "\0".join(texts).encode("utf-8", "surrogatepass")
    labels = dataset.test_labels
    return (
        np.frombuffer(content, "uint8"),
        np.zeros(0, "int32") if labels is None else labels,
    )


def _load_language_models(names, directions):
    """Returns the pretrained model of each direction, or `None`."""
    if names == ["none"]:
        return dict.fromkeys(directions)
    return {
        direction: load_language_model(names, direction)
        for direction in directions
    }


def _architecture(language_models, settings):
    preset = settings.preset
    if preset is not None and preset not in models.ARCHITECTURES:
        raise UserError(
            f"`--preset` must be one of {', '.join(models.ARCHITECTURES)}. "
            f"Received: {preset}."
        )
    found = [model for model in language_models.values() if model]
    if not found:
        # An experiment names the sizes of what it compares with.
        given = getattr(settings, "architecture", None)
        return given or models.ARCHITECTURES[preset]
    kinds = {
        (
            model.architecture,
            type(model.tokenizer),
            getattr(model.tokenizer, "lowercase", None),
        )
        for model in found
    }
    if len(kinds) > 1:
        raise UserError(
            "`--pretrained`: the forward and the backward language model "
            "have different sizes or tokenizers. Give two of the same kind."
        )
    return found[0].architecture


def _check_unfreezing(recipe, architecture):
    needed = _fewest_epochs(recipe.unfreezing, architecture)
    if recipe.epochs < needed:
        raise UserError(
            f"`--unfreezing`: {recipe.epochs} epochs are too few for "
            f"{recipe.unfreezing}. Train for {needed} epochs or more, or "
            "choose another order."
        )


def _fewest_epochs(method, architecture):
    # Groups: the embedding, each LSTM layer, the head.
    return training.fewest_epochs(method, architecture.num_layers + 2)


def _part(corpus, start, stop):
    return TokenizedCorpus(corpus.token_ids, corpus.offsets[start : stop + 1])


def _fingerprint(first, *arrays):
    digest = hashlib.sha256(first.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
