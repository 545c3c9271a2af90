"""fastai's rules and spaCy's English tokenizer."""

import time

from fastai.text.core import parallel_tokenize

from benchmarks.documents import texts


def tokenization(documents, workers):
    """Returns a function that measures documents a second.

    The ids are looked up in a dictionary, as fastai's `Numericalize` does.
    """
    sample = texts(documents)[1]
    words = dict.fromkeys(w for text in sample for w in text.lower().split())
    ids = {word: index for index, word in enumerate(words)}

    def measure():
        started = time.perf_counter()
        tokenized = parallel_tokenize(sample, n_workers=workers)
        for _, tokens in tokenized:
            [ids.get(token, 0) for token in tokens]
        return documents / (time.perf_counter() - started)

    return measure
