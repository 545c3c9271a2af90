"""Perplexity of a language model on a text.

python -m trainers.perplexity --pretrained compact --corpus wiki.valid.tokens
"""

import argparse
import math

import numpy as np

from trainers import command_line

_WINDOW = 70
# Tokens that each row of a batch has at least. A row begins without what
# stands before it, which its first few tokens feel.
_LEAST_IN_A_ROW = 7000


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m trainers.perplexity",
        description="Perplexity of a language model on a text, over the whole "
        "vocabulary: per token, and per whitespace word of the original text, "
        "which compares across vocabularies and tokenizers. All tokens but the "
        "first are predicted.",
        formatter_class=command_line.HelpFormatter,
    )
    add = parser.add_argument
    add(
        "--pretrained",
        nargs="+",
        default=["compact"],
        metavar="NAME_OR_DIR",
        help="language model, by default compact",
    )
    add(
        "--corpus",
        required=True,
        help="registered name, file, folder or glob of texts",
    )
    add("--data-dir", help="where registered corpora are looked for")
    add("--text-column", default="text", help="column of CSV, TSV, JSONL")
    add(
        "--direction",
        default="forward",
        choices=("forward", "backward"),
        help="which of the model's ways to read is measured",
    )
    add(
        "--batch-size",
        type=int,
        default=16,
        help="parts of a long text that are read side by side; at least "
        f"{_LEAST_IN_A_ROW} tokens each",
    )
    add(
        "--stored-precision",
        choices=("float32", "float16", "int8"),
        help="measure what the model would be if it were stored so",
    )
    arguments = parser.parse_args(argv)
    if arguments.batch_size < 1:
        parser.error("--batch-size must be at least 1")
    return arguments


def main(argv):
    """Returns perplexities, token and word counts and the unknown rate."""
    arguments = parse_arguments(argv)
    command_line.check_backend()
    from ulmfit_tf import data, text
    from ulmfit_tf.data.token_cache import tokenize_corpus

    source = command_line.load_language_model(
        arguments.pretrained, arguments.direction
    )
    stored = {}
    if arguments.stored_precision:
        source, size = source.as_stored(arguments.stored_precision)
        stored = {
            "stored_precision": arguments.stored_precision,
            "weights_megabytes": round(size / 1e6, 2),
        }
    documents = list(
        data.iter_documents(
            arguments.corpus,
            data_dir=arguments.data_dir,
            text_column=arguments.text_column,
        )
    )
    words = sum(len(document.split()) for document in documents)
    corpus = tokenize_corpus(documents, source.tokenizer, batch_size=16)
    tokens = corpus.num_tokens - 1
    if tokens < 1 or not words:
        raise command_line.UserError(
            f"`--corpus {arguments.corpus}` has {tokens + 1} tokens. At least "
            "two are needed, as the first one is not predicted."
        )
    ids = np.concatenate(
        [
            document[::-1] if arguments.direction == "backward" else document
            for document in (corpus[index] for index in range(len(corpus)))
        ]
    )
    nats = total_nats(source, ids, arguments.batch_size)
    return {
        "corpus": arguments.corpus,
        "direction": arguments.direction,
        "perplexity_per_token": _perplexity(nats, tokens),
        "perplexity_per_word": _perplexity(nats, words),
        "tokens": corpus.num_tokens,
        "predicted_tokens": tokens,
        "words": words,
        "unknown_rate": round(
            float(np.mean(corpus.token_ids == text.UNKNOWN_ID)), 5
        ),
        **stored,
    }


def _perplexity(nats, count):
    """Returns a perplexity; `None` where it is beyond any number.

    A text without spaces is one word.
    """
    try:
        return round(math.exp(nats / count), 3)
    except OverflowError:
        return None


def total_nats(source, token_ids, batch_size=16):
    """Returns the sum of the losses of all tokens but the first.

    A text of fewer than 14,000 tokens is read as one; a longer one in up to
    `batch_size` parts, each from states of zero.

    Args:
        source: `PretrainedLanguageModel`.
        token_ids: Int array `(tokens,)`, in the order that the model reads.
        batch_size: Int.

    Returns:
        Float.
    """
    import tensorflow as tf

    tokens = len(token_ids) - 1
    rows = max(1, min(batch_size, tokens // _LEAST_IN_A_ROW))
    length = math.ceil(tokens / rows)
    # What the last row lacks is padded and not counted.
    padded = np.zeros(rows * length + 1, "int32")
    padded[: tokens + 1] = token_ids
    inputs = padded[:-1].reshape(rows, length)
    targets = padded[1:].reshape(rows, length)
    counted = (np.arange(rows * length) < tokens).reshape(rows, length)
    model = source.build(rows)
    losses_of = tf.function(model.losses_of, reduce_retracing=True)
    nats = 0.0
    for start in range(0, length, _WINDOW):
        window = slice(start, start + _WINDOW)
        losses = losses_of(
            {
                "token_ids": tf.constant(inputs[:, window]),
                "stream_start": tf.fill([rows], int(start == 0)),
            },
            tf.constant(targets[:, window]),
        )
        nats += float(
            losses.numpy().astype("float64")[counted[:, window]].sum()
        )
    return nats


if __name__ == "__main__":
    command_line.run(main)
