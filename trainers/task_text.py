"""A task's text as token ids, in a vocabulary that knows its words."""

import logging

import numpy as np

from ulmfit_tf import text

_log = logging.getLogger("trainers")
TOKENIZERS = ("word", "sentencepiece")
# Documents may be long: memory grows with the longest batch.
_BATCH_SIZE = 64
# A share of the tokens: 4 to 5 % of TREC-6, AG News and IMDb are no words of
# `compact`, and a third or more of a few German or French sentences.
MUCH_UNKNOWN = 0.2


def new_tokenizer(kind, texts, vocabulary_size, min_frequency):
    """Returns a tokenizer learned from texts.

    Args:
        kind: One of `TOKENIZERS`.
        texts: Iterable of str.
        vocabulary_size: Int, words or pieces at most.
        min_frequency: Int, occurrences that a word needs; not for pieces.
    """
    if kind == "sentencepiece":
        return text.SentencePieceTokenizer(
            text.train_sentencepiece(texts, vocabulary_size)
        )
    counts = text.count_tokens(text.split_words, texts, _BATCH_SIZE)
    return text.WordTokenizer(
        text.Vocabulary.build(counts, vocabulary_size, min_frequency)
    )


def task_tokenizer(
    texts, pretrained, vocabulary_size, min_frequency, kind="word"
):
    """Returns the tokenizer of a task.

    Without a pretrained model its vocabulary are the task's words. With one,
    the pretrained words come first, in their order, and the task's other
    words follow: a word that only a later text uses keeps what pretraining
    learned of it.

    Args:
        texts: Iterable of str, all of the task's training text.
        pretrained: Optional `PretrainedLanguageModel`.
        vocabulary_size: Int, words at most, beside those of the pretrained
            model.
        min_frequency: Int, occurrences that a new word needs.
        kind: One of `TOKENIZERS`; a pretrained model brings its own.
    """
    if pretrained is None:
        return new_tokenizer(kind, texts, vocabulary_size, min_frequency)
    tokenizer = pretrained.tokenizer
    if not isinstance(tokenizer, text.WordTokenizer):
        # Pieces spell any word.
        return tokenizer
    known = tokenizer.vocabulary
    counts = text.count_tokens(tokenizer, texts, _BATCH_SIZE)
    new = [
        (-count, word)
        for word, count in counts.items()
        if count >= min_frequency and word not in known
    ]
    added = [word for _, word in sorted(new)[:vocabulary_size]]
    _log.info("%d words are new to the pretrained model", len(added))
    words = [*known.tokens, *added]
    return text.WordTokenizer(
        text.Vocabulary(words), lowercase=tokenizer.lowercase
    )


def share_unknown(token_ids, tokenizer, pretrained=None):
    """Returns the share of tokens that a language model learned nothing of.

    The unknown ones, and the task's own words, which begin as a pretrained
    model's mean word.

    Args:
        token_ids: Int array of a text in the vocabulary of `tokenizer`.
        tokenizer: What `task_tokenizer` returned for `pretrained`.
        pretrained: Optional `PretrainedLanguageModel`.
    """
    source = tokenizer if pretrained is None else pretrained.tokenizer
    unknown = token_ids == text.UNKNOWN_ID
    return float(np.mean(unknown | (token_ids >= len(source.vocabulary))))


def weights_for(pretrained, vocabulary):
    """Returns a pretrained model's weights with rows for `vocabulary`."""
    embedding, bias = text.transfer_rows(
        pretrained.tokenizer.vocabulary,
        vocabulary,
        pretrained.weights["embedding"],
        pretrained.weights["decoder/bias"],
    )
    return {
        **pretrained.weights,
        "embedding": embedding,
        "decoder/bias": bias,
    }
