"""Perplexity of a language model on a text.

python -m trainers.perplexity --pretrained compact --corpus wiki.valid.tokens
"""

import argparse

import numpy as np

from trainers import command_line


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m trainers.perplexity",
        description="Perplexity of a language model on a text, over the whole "
        "vocabulary: per token, and per whitespace word of the original text, "
        "which compares across vocabularies and tokenizers.",
    )
    add = parser.add_argument
    add("--pretrained", nargs="+", default=["compact"], metavar="NAME_OR_DIR")
    add("--corpus", required=True)
    add("--data-dir")
    add("--text-column", default="text")
    add("--direction", default="forward", choices=("forward", "backward"))
    add("--batch-size", type=int, default=16)
    return parser.parse_args(argv)


def main(argv):
    """Returns perplexities, token and word counts and the unknown rate."""
    arguments = parse_arguments(argv)
    from ulmfit_tf import data, pretrained, text
    from ulmfit_tf.data.lm_stream import LanguageModelStream
    from ulmfit_tf.data.token_cache import tokenize_corpus

    try:
        source = pretrained.load_pretrained(
            arguments.pretrained, arguments.direction
        )
    except ValueError as error:
        raise command_line.UserError(f"`--pretrained`: {error}") from error
    documents = list(
        data.iter_documents(
            arguments.corpus,
            data_dir=arguments.data_dir,
            text_column=arguments.text_column,
        )
    )
    words = sum(len(document.split()) for document in documents)
    corpus = tokenize_corpus(documents, source.tokenizer, batch_size=16)
    rows = min(arguments.batch_size, (corpus.num_tokens - 1) // 2)
    if rows < 1:
        raise command_line.UserError(
            f"`--corpus {arguments.corpus}` has {corpus.num_tokens} tokens, "
            "and `--batch-size` is "
            f"{arguments.batch_size}. At least three tokens and a batch size "
            "of 1 are needed."
        )
    stream = LanguageModelStream(
        corpus, rows, backward=arguments.direction == "backward"
    )
    model = source.build(rows)
    model.compile()
    logs = model.evaluate(
        stream.dataset(),
        steps=stream.steps_per_epoch,
        verbose=0,
        return_dict=True,
    )
    tokens = len(corpus.token_ids)
    nats = tokens * float(np.log(logs["perplexity"]))
    return {
        "corpus": arguments.corpus,
        "direction": arguments.direction,
        "perplexity_per_token": round(float(logs["perplexity"]), 3),
        "perplexity_per_word": round(float(np.exp(nats / words)), 3),
        "tokens": tokens,
        "words": words,
        "unknown_rate": round(
            float(np.mean(corpus.token_ids == text.UNKNOWN_ID)), 5
        ),
    }


if __name__ == "__main__":
    command_line.run(main)
