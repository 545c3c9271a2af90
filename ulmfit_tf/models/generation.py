"""Text from a language model: greedy, top-k, nucleus and beam search."""

import numpy as np

SEARCHES = ("greedy", "top-k", "nucleus", "beam")
# Forbidden tokens have a logit of -1e9, which must stay the lowest.
_HOTTEST = 100.0
# They mark the word that follows, never each other.
_MARKS = ("xxrep", "xxwrep", "xxup", "xxmaj")


def generate_text(
    model,
    tokenizer,
    prompt,
    num_tokens,
    *,
    backward=False,
    num_texts=1,
    **search,
):
    """Continues a text with a language model.

    A backward model writes leftwards, from the prompt towards the start of
    the text; the result is in reading order, the prompt at its end.

    Args:
        model: `LanguageModel`.
        tokenizer: Its tokenizer.
        prompt: Str; `""` begins a document.
        num_tokens: Int, tokens to add; marks of capitals are tokens too.
        backward: Bool, whether the model reads backward.
        num_texts: Int, how many continuations.
        **search: Arguments of `generate`.

    Returns:
        List of `num_texts` strings, the prompt included.
    """
    ids = tokenizer([prompt])[0].numpy()
    if backward:
        # A document begins with `xxbos` in its stream, whichever its end.
        ids = np.concatenate([ids[:1], ids[:0:-1]])
    generated = generate(
        model,
        np.tile(ids, (num_texts, 1)),
        num_tokens,
        forbidden_ids=_forbidden_ids(tokenizer),
        mark_ids=[tokenizer.vocabulary.index(mark) for mark in _MARKS],
        **search,
    )
    vocabulary = tokenizer.vocabulary
    results = []
    for row in generated:
        tokens = [vocabulary[index] for index in row]
        if backward:
            tokens.reverse()
        results.append(_joined(tokenizer, prompt, tokens, backward))
    return results


def generate(
    model,
    token_ids,
    num_tokens,
    forbidden_ids=(),
    mark_ids=(),
    *,
    search="nucleus",
    temperature=1.0,
    top_k=50,
    top_p=0.9,
    beam_size=4,
    seed=0,
):
    """Generates token ids, one step a token, the LSTM states carried along.

    Runs the decoding loops of TensorFlow Model Garden
    (`official.nlp.modeling.ops`), with TensorFlow only.

    Args:
        model: `LanguageModel`, of whatever batch size.
        token_ids: Int array `(batch, timesteps)` to go on from, in the order
            that the model reads; at least one timestep.
        num_tokens: Int, tokens to add to each row.
        forbidden_ids: Ids that are never generated.
        mark_ids: Ids of which no two ever follow each other.
        search: `"greedy"`; `"top-k"`, sampling from the `top_k` most likely
            tokens (Fan et al., 2018); `"nucleus"`, sampling from the most
            likely tokens that have probability `top_p` together (Holtzman et
            al., 2020); or `"beam"`, the most likely row of a beam search.
        temperature: Float, divides the logits of the sampling searches.
        top_k: Int.
        top_p: Float in `(0, 1]`.
        beam_size: Int.
        seed: Int, of the sampling searches.

    Returns:
        Int array `(batch, num_tokens)`.

    Raises:
        ValueError: If an argument is out of its range.
    """
    import tensorflow as tf
    from official.nlp.modeling import ops

    token_ids = np.asarray(token_ids, "int32")
    allowed = model.vocabulary_size - len(set(forbidden_ids))
    _check(num_tokens, search, temperature, top_k, top_p, beam_size, allowed)
    # Finite: the loops add and subtract log-probabilities.
    forbidden, is_mark = np.zeros((2, model.vocabulary_size), "float32")
    forbidden[list(forbidden_ids)] = -1e9
    is_mark[list(mark_ids)] = 1.0
    names = [lstm.name for lstm in model.encoder.lstms]

    def run(ids, states):
        hidden, states = model.encoder(
            ids, initial_states=[states[name] for name in names]
        )
        states = [[tf.cast(s, tf.float32) for s in pair] for pair in states]
        return hidden, dict(zip(names, states, strict=True))

    def next_logits(ids, index, states):
        hidden, states = run(ids[:, -1:], states)
        logits = model.decoder(hidden, model.encoder.embedding.embeddings)
        after_mark = tf.gather(is_mark, ids[:, -1:])
        return logits[:, 0] + forbidden - 1e9 * after_mark * is_mark, states

    states = {
        lstm.name: [tf.zeros((len(token_ids), lstm.units))] * 2
        for lstm in model.encoder.lstms
    }
    # The loops read the last token themselves.
    if token_ids.shape[1] > 1:
        _, states = run(token_ids[:, :-1], states)
    loop = {
        "symbols_to_logits_fn": next_logits,
        "vocab_size": model.vocabulary_size,
        "max_decode_length": num_tokens,
        # No token ends a text.
        "eos_id": -1,
        "padded_decode": False,
    }
    last = tf.constant(token_ids[:, -1])

    # A graph, as the loops run many small operations.
    @tf.function
    def decode():
        # Of this graph alone: the caller's random numbers go on as they were.
        tf.random.set_seed(seed)
        if search == "beam":
            found, _ = ops.sequence_beam_search(
                initial_ids=last,
                initial_cache=states,
                beam_size=beam_size,
                # All rows are equally long: nothing to normalize.
                alpha=0.0,
                **loop,
            )
            return found[:, 0]
        sampling = ops.SamplingModule(
            enable_greedy=search == "greedy",
            sample_temperature=temperature,
            top_k=top_k if search == "top-k" else 0,
            top_p=top_p if search == "nucleus" else 1.0,
            **loop,
        )
        return sampling.generate(last, states)[0]

    return decode()[:, 1:].numpy()


def _check(num_tokens, search, temperature, top_k, top_p, beam_size, allowed):
    if search not in SEARCHES:
        raise ValueError(
            f"`search` must be one of {', '.join(SEARCHES)}. "
            f"Received: {search!r}."
        )
    # A beam search keeps twice its size in candidates.
    for name, value, most in (
        ("num_tokens", num_tokens, 10**6),
        ("top_k", top_k, 10**9),
        ("beam_size", beam_size, allowed // 2 if search == "beam" else 10**9),
    ):
        if not 1 <= value <= most:
            raise ValueError(
                f"`{name}` must lie between 1 and {most}. Received: {value}."
            )
    if not 0 < temperature <= _HOTTEST or not 0 < top_p <= 1:
        raise ValueError(
            f"`temperature` must be above 0 and at most {_HOTTEST}, and "
            "`top_p` in (0, 1]. Received: "
            f"temperature={temperature}, top_p={top_p}. For the most likely "
            "words use the greedy search."
        )


def _forbidden_ids(tokenizer):
    """Ids that are no text: all special tokens but the marks."""
    # Only here, so that models can be made without TensorFlow.
    from ulmfit_tf import text

    marks = _MARKS if isinstance(tokenizer, text.WordTokenizer) else ()
    return [
        index
        for index, token in enumerate(tokenizer.vocabulary)
        if (token in text.SPECIAL_TOKENS and token not in marks)
        or token.startswith("xxfake")
    ]


def _joined(tokenizer, prompt, tokens, backward):
    """Returns prompt and tokens, both in reading order, as one text."""
    # Only here, so that models can be made without TensorFlow.
    from ulmfit_tf import text

    if isinstance(tokenizer, text.WordTokenizer):
        # The tokens, not the ids: a word may be unknown.
        own = [t.decode() for t in tokenizer.tokenize([prompt])[0].numpy()]
        parts = [tokens, own] if backward else [own, tokens]
        return text.detokenize_words([*parts[0], *parts[1]])
    added = text.detokenize_pieces(tokens)
    if backward:
        return f"{added.strip()} {prompt}".strip()
    return f"{prompt}{added}".strip()
