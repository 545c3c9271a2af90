"""The tokenizer in the graph."""

import time

from benchmarks.documents import texts
from ulmfit_tf.data.token_cache import tokenize_corpus
from ulmfit_tf.text import SPECIAL_TOKENS, Vocabulary, WordTokenizer


def tokenization(documents):
    """Returns a function that measures documents a second."""
    sample = texts(documents)[1]
    words = dict.fromkeys(w for text in sample for w in text.lower().split())
    words = [w for w in words if w not in SPECIAL_TOKENS]
    tokenizer = WordTokenizer(Vocabulary([*SPECIAL_TOKENS, *words]))

    def measure():
        started = time.perf_counter()
        tokenize_corpus(sample, tokenizer)
        return documents / (time.perf_counter() - started)

    return measure
