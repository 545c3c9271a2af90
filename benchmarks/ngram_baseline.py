"""The n-gram baseline that a language model has to beat.

python -m benchmarks.ngram_baseline --corpus wiki.valid.tokens
"""

import argparse
import time

import numpy as np

from benchmarks.kneser_ney import KneserNey
from trainers import command_line, perplexity


def parse_arguments(argv):
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ngram_baseline",
        description="Perplexity of a modified Kneser-Ney n-gram model with a "
        "language model's vocabulary, counted as `trainers.perplexity` does, "
        "and of the language model.",
    )
    add = parser.add_argument
    add("--corpus", required=True, help="text that is evaluated on")
    add("--training-corpus", default="wikipedia-en-2015")
    add("--max-tokens", type=int, default=20_000_000, help="to train on")
    add("--order", type=int, default=3)
    add("--pretrained", default="compact", metavar="NAME_OR_DIR")
    add("--data-dir")
    add("--text-column", default="text")
    add("--ngram-only", action="store_true", help="no language model")
    return parser.parse_args(argv)


def main(argv):
    """Returns the n-gram model's figures and the language model's."""
    arguments = parse_arguments(argv)
    results = {"ngram": _ngram_figures(arguments)}
    if not arguments.ngram_only:
        flags = ["--pretrained", arguments.pretrained]
        flags += ["--corpus", arguments.corpus]
        flags += ["--text-column", arguments.text_column]
        if arguments.data_dir:
            flags += ["--data-dir", arguments.data_dir]
        results["language_model"] = perplexity.main(flags)
    return results


def _ngram_figures(arguments):
    from ulmfit_tf import data, text
    from ulmfit_tf.data.token_cache import tokenize_corpus

    started = time.monotonic()
    source = command_line.load_language_model(arguments.pretrained)
    tokenizer = source.tokenizer

    def documents(corpus):
        return data.iter_documents(
            corpus,
            data_dir=arguments.data_dir,
            text_column=arguments.text_column,
        )

    if arguments.order < 1:
        raise command_line.UserError(
            f"`--order` must be 1 or more. Received: {arguments.order}."
        )
    evaluated = list(documents(arguments.corpus))
    training_ids = tokenize_corpus(
        _first_words(
            documents(arguments.training_corpus), arguments.max_tokens
        ),
        tokenizer,
        batch_size=64,
    ).token_ids[: arguments.max_tokens]
    try:
        model = KneserNey(
            training_ids, len(tokenizer.vocabulary), arguments.order
        )
    except ValueError as error:
        raise command_line.UserError(
            f"`--order`, `--max-tokens`: {error}"
        ) from error
    words = sum(len(document.split()) for document in evaluated)
    ids = tokenize_corpus(evaluated, tokenizer, batch_size=16).token_ids
    if len(ids) <= arguments.order:
        raise command_line.UserError(
            f"`--corpus {arguments.corpus}` has {len(ids)} tokens; an n-gram "
            f"model of order {arguments.order} needs more. Give more text."
        )
    nats, predicted = model.nats(ids)
    per_token = nats / predicted
    # As of the language model: all tokens but the first.
    per_word = per_token * (len(ids) - 1) / words
    return {
        "model": f"{arguments.order}-gram, modified Kneser-Ney",
        "training_tokens": len(training_ids),
        "perplexity_per_token": round(float(np.exp(per_token)), 3),
        "perplexity_per_word": round(float(np.exp(per_word)), 3),
        "tokens": len(ids),
        "words": words,
        "unknown_rate": round(float(np.mean(ids == text.UNKNOWN_ID)), 5),
        "seconds": round(time.monotonic() - started, 1),
    }


def _first_words(documents, count):
    """Yields documents until they have `count` whitespace words.

    Tokens are at least as many, as words are split and marked.
    """
    for document in documents:
        if count <= 0:
            return
        count -= len(document.split())
        yield document


if __name__ == "__main__":
    command_line.run(main)
