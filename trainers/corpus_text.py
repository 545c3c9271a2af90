"""A corpus as token ids, for training a language model on it."""

import dataclasses
import fractions
import hashlib
import json
import logging
import math
import time

from trainers.command_line import UserError, read_json, write_json
from trainers.task_text import (
    MUCH_UNKNOWN,
    new_tokenizer,
    share_unknown,
    task_tokenizer,
    weights_for,
)
from ulmfit_tf import data, text
from ulmfit_tf.data.download import default_cache_dir
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.token_cache import (
    TokenizedCorpus,
    cached_corpus,
    check_writable,
)

_log = logging.getLogger("trainers")
_FEWEST_TOKENS = 100
_TELL_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class CorpusText:
    """What `prepare_corpus` returns.

    Attributes:
        tokenizer: Tokenizer of both parts.
        weights: Dict of a pretrained model's arrays with rows for the
            tokenizer's vocabulary, or `None`.
        train: `TokenizedCorpus`.
        validation: `TokenizedCorpus` of documents held out.
    """

    tokenizer: object
    weights: dict | None
    train: TokenizedCorpus
    validation: TokenizedCorpus


def prepare_corpus(settings, recipe, pretrained, directory):
    """Tokenizes a corpus once, streaming it, and holds documents out.

    Args:
        settings: Namespace with `corpus`, `data_dir`, `text_column`,
            `tokenizer`, `extend_vocabulary` and `validation_fraction`.
        recipe: `LanguageModelRecipe`.
        pretrained: Optional `PretrainedLanguageModel` to start from.
        directory: `pathlib.Path` where the run keeps its tokenizer and what
            its text is: ids must mean the same when it is resumed.

    Returns:
        A `CorpusText`.

    Raises:
        DataError: If the corpus cannot be read, or changes meanwhile.
        UserError: If there is too little text, or it is not what the run was
            started with.
    """
    corpus = {"name_or_path": settings.corpus, "data_dir": settings.data_dir}
    files = data.corpus_files(**corpus)

    def documents(held_out, purpose):
        every = data.iter_documents(
            **corpus, text_column=settings.text_column, files=files
        )
        chosen = (
            document
            for index, document in enumerate(every)
            if _is_held_out(index, fraction) == held_out
        )
        yield from _counted(chosen, purpose)
        # Before what was read is kept under the name of what was there.
        _check_untouched(files, times)

    # As it was written, since 0.1 is no binary number.
    fraction = fractions.Fraction(str(settings.validation_fraction))
    # Before hours may go by.
    check_writable(default_cache_dir() / "corpora")
    times = _times(files)
    facts = {
        "files": data.fingerprint(files),
        "rules": text.RULES_VERSION,
    }
    _check_unchanged(directory / "corpus.json", facts)
    tokenizer = _tokenizer(settings, recipe, pretrained, documents, directory)
    weights = pretrained and weights_for(pretrained, tokenizer.vocabulary)
    key = _digest(
        facts,
        settings.corpus if settings.corpus in data.CORPORA else None,
        settings.text_column,
        text.tokenizer_fingerprint(tokenizer),
        str(fraction),
    )
    cache = default_cache_dir() / "corpora" / key
    _log.info("text cache: %s", cache)

    def part(name, held_out):
        def texts():
            return documents(held_out, f"tokenizing the {name} text")

        _log.info("tokenizing the %s text, unless it is cached", name)
        tokenized = cached_corpus(cache / name, key, texts, tokenizer)
        if tokenized.num_tokens < _FEWEST_TOKENS:
            raise UserError(
                f"The {name} part of the corpus has {tokenized.num_tokens} "
                f"tokens in {len(tokenized)} documents; at least "
                f"{_FEWEST_TOKENS} are needed. Use more text or another "
                "`--validation-fraction`, such as 0.1."
            )
        return tokenized

    # The small part first: that it is too small is then told at once.
    validation = part("validation", True)
    result = CorpusText(tokenizer, weights, part("training", False), validation)
    unknown = share_unknown(validation.token_ids, tokenizer)
    _log.info(
        "%s tokens to train on, %s to validate on, %s words; %.1f %% of the "
        "tokens are unknown",
        f"{result.train.num_tokens:,}",
        f"{validation.num_tokens:,}",
        f"{len(tokenizer.vocabulary):,}",
        100 * unknown,
    )
    if unknown > MUCH_UNKNOWN:
        _log.warning(
            "The model will learn little from so many unknown words. Is this "
            "the language of the vocabulary? One of its own is learned "
            "without `--pretrained`, or with `--extend-vocabulary`; "
            "`--tokenizer sentencepiece` suits languages without spaces or "
            "with many forms of a word."
        )
    return result


def _counted(documents, purpose):
    """Passes documents on and tells from time to time how many there were."""
    told = time.monotonic()
    for number, document in enumerate(documents, 1):
        yield document
        if time.monotonic() - told > _TELL_SECONDS:
            told = time.monotonic()
            _log.info("%s: %s documents", purpose, f"{number:,}")


def _is_held_out(index, fraction):
    """Whether a document is for validation; they are spread evenly."""
    return math.floor((index + 1) * fraction) > math.floor(index * fraction)


def _times(files):
    """Returns, by file, its size and when it was last written."""
    times: dict = {}
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            times[file] = None
        else:
            times[file] = stat.st_size, stat.st_mtime_ns
    return times


def _check_untouched(files, times):
    """Raises `DataError` if files are no longer what `_times` saw."""
    now = _times(files)
    changed = [f"`{file}`" for file in files if now[file] != times[file]]
    if changed:
        raise DataError(
            f"{', '.join(changed[:5])}{', ...' * (len(changed) > 5)} changed "
            "while the corpus was read, so the text would be neither the old "
            "nor the new one. Let the program that writes there finish, or "
            "copy the corpus, and give the command again."
        )


def _check_unchanged(path, facts):
    """Keeps what a run's text is; raises `UserError` if it was another."""
    if not path.exists():
        write_json(path, facts)
        return
    before = read_json(path)
    if before == facts:
        return
    if before["rules"] != facts["rules"]:
        changed = ["the rules by which words are split, in this release"]
    else:
        known, found = before["files"], facts["files"]
        # Files of different folders may have one name.
        changed = sorted(
            {each["name"] for each in known if each not in found}
            | {each["name"] for each in found if each not in known}
        )
    raise UserError(
        f"`--resume {path.parent}`: the corpus is not the one that the run "
        "was started with. What differs: "
        f"{', '.join(changed[:5]) or 'the order of the files'}"
        f"{', ...' * (len(changed) > 5)}. Put the old text back, or start a "
        "new run."
    )


def _tokenizer(settings, recipe, pretrained, documents, directory):
    own = directory / "tokenizer"
    if (own / "tokenizer.json").exists():
        try:
            return text.load_tokenizer(own)
        except (OSError, ValueError) as error:
            raise UserError(f"`--resume {directory}`: {error}") from error
    if pretrained is not None and not settings.extend_vocabulary:
        tokenizer = pretrained.tokenizer
    else:
        tokenizer = _learned_tokenizer(settings, recipe, pretrained, documents)
    # Another model may lie in the pretrained one's place when it is resumed.
    text.save_tokenizer(tokenizer, own)
    return tokenizer


def _learned_tokenizer(settings, recipe, pretrained, documents):
    purpose = "learning the vocabulary"
    _log.info(purpose)
    learn = (
        documents(False, purpose),
        recipe.vocabulary_size,
        recipe.min_frequency,
    )
    if pretrained is not None:
        texts, *limits = learn
        return task_tokenizer(texts, pretrained, *limits)
    try:
        return new_tokenizer(settings.tokenizer, *learn)
    except DataError:
        raise
    except ValueError as error:
        raise UserError(f"`--vocabulary-size`: {error}") from error


def _digest(*parts):
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
