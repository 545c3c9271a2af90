"""Training steps of fastai's language model."""

import contextlib
import time

import torch
from fastai.optimizer import Adam
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_split
from fastai.text.models.core import get_language_model

from benchmarks.synthetic import token_windows


def training_step(vocabulary_size, batch, timesteps, autocast, steps=1):
    """Returns a function that measures tokens a second over `steps`.

    A step is what fastai's `Learner` does in one with its callbacks
    `ModelResetter`, `RNNCallback`, `RNNRegularizer` and `GradientClip`,
    without the time these callbacks take themselves.
    """
    torch.manual_seed(0)
    model = get_language_model(AWD_LSTM, vocabulary_size)
    model.train()
    model.reset()
    groups = [list(group) for group in awd_lstm_lm_split(model)]
    optimizer = Adam(groups, lr=0.004, mom=0.7, sqr_mom=0.99, wd=1e-7)
    ids = torch.from_numpy(token_windows(vocabulary_size, batch, timesteps + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def precision():
        if autocast:
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()

    def step():
        with precision():
            logits, raw, dropped = model(inputs)
            loss = torch.nn.functional.cross_entropy(
                logits.view(-1, vocabulary_size), targets.view(-1)
            )
        loss = loss + 2.0 * dropped.float().pow(2).mean()
        loss = loss + (raw[:, 1:] - raw[:, :-1]).float().pow(2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    def measure():
        started = time.perf_counter()
        for _ in range(steps):
            step()
        return steps * batch * timesteps / (time.perf_counter() - started)

    return measure
