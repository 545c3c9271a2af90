"""Windows by their number are those that the stream yields in turn."""

import itertools

import numpy as np

from trainers.stream_windows import StreamWindows
from ulmfit_tf.data.lm_stream import LanguageModelStream
from ulmfit_tf.data.token_cache import TokenizedCorpus

_CORPUS = TokenizedCorpus.from_documents(
    np.split(np.arange(10, 5000), [700, 720, 3000])
)


def _assert_same(window, expected):
    for name, array in expected[0].items():
        np.testing.assert_array_equal(window[0][name], array)
    np.testing.assert_array_equal(window[1], expected[1])


def test_windows_have_the_numbers_of_their_steps():
    stream = LanguageModelStream(_CORPUS, 4, seed=1)
    for first_step in (0, 7):
        # Three epochs and more.
        count = 3 * stream.steps_per_epoch + 2
        expected = list(itertools.islice(stream.windows(first_step), count))
        windows = StreamWindows(stream, first_step)
        for index in [*range(count), 0, 1, 5, 4]:
            _assert_same(windows[index], expected[index])


def test_it_ends_for_nobody():
    stream = LanguageModelStream(_CORPUS, 4, seed=1)
    windows = StreamWindows(stream)
    assert windows.num_batches is None
    taken = list(itertools.islice(windows, stream.steps_per_epoch + 1))
    assert len(taken) == stream.steps_per_epoch + 1
