"""The model card of a language model that a run has trained."""

import shlex

import numpy as np

from ulmfit_tf import text

_CARD = """# Language model, {direction}

An AWD-LSTM language model: embedding {embedding_units}, {num_layers} LSTM
layers (hidden {hidden_units}), {size:,} {kind}.

- Text: `{corpus}`, {train:,} tokens to train on and {validation:,} held out,
  {unknown:.1f} % of which are unknown. Licence of the text: (fill in).
- Training: {steps:,} steps, {seen:.1f} million tokens, from {start}; computed
  in {policy}, {hours:.1f} hours. Weights stored as {dtype}.
- Perplexity a token of the held-out documents, read side by side in as many
  parts as a batch has rows, whole vocabulary; the weights are those of the row
  with the lowest:

| million tokens | perplexity |
|---|---|
{curve}

## Reproduce

```sh
python -m trainers.language_model {command}
python -m trainers.perplexity --pretrained {output} \\
    --direction {direction} --corpus TEXT
```

## Limits

It repeats what its text says, biases included. (Fill in.)
"""


def model_card(settings, recipe, model, corpus, options, tokens, seconds):
    """Returns the card as Markdown, with gaps for what no run can know.

    Args:
        settings: Namespace of the run's settings.
        recipe: `LanguageModelRecipe`.
        model: `PretrainedLanguageModel` of the run, with its curve.
        corpus: `CorpusText`.
        options: `RunOptions`.
        tokens: `(steps, tokens_per_step)`.
        seconds: Float, time of the run.
    """
    steps, tokens_per_step = tokens
    seen = steps * tokens_per_step / 1e6
    held_out = corpus.validation.token_ids
    words = isinstance(model.tokenizer, text.WordTokenizer)
    rows = [
        f"| {point.million_tokens:.1f} | {point.perplexity:.1f} |"
        for point in model.curve
    ]
    return _CARD.format(
        direction=model.direction,
        embedding_units=model.architecture.embedding_units,
        hidden_units=model.architecture.hidden_units,
        num_layers=model.architecture.num_layers,
        size=len(model.tokenizer.vocabulary),
        kind="words" if words else "SentencePiece pieces",
        corpus=settings.corpus,
        train=corpus.train.num_tokens,
        validation=corpus.validation.num_tokens,
        unknown=100 * np.mean(held_out == text.UNKNOWN_ID),
        steps=steps,
        seen=seen,
        hours=seconds / 3600,
        start=", ".join(settings.pretrained or ["new weights"]),
        policy=options.policy,
        dtype=settings.stored_precision,
        curve="\n".join(rows),
        command=shlex.join(_arguments(settings, recipe)),
        output=settings.output,
    )


def _arguments(settings, recipe):
    """The run's own arguments, with the steps that it was last given."""
    arguments = [
        word
        for word in settings.arguments
        # Without a stop before the training one command is enough.
        if not word.startswith("--max-steps=") and word != "--prepare"
    ]
    if "--max-steps" in arguments:
        index = arguments.index("--max-steps")
        del arguments[index : index + 2]
    if recipe.max_steps:
        arguments += ["--max-steps", str(recipe.max_steps)]
    return arguments
