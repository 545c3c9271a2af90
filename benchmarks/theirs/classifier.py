"""Training and inference of fastai's text classifier."""

import time

import numpy as np
import pandas
import torch
from fastai.optimizer import Adam
from fastai.text.core import defaults
from fastai.text.data import TextDataLoaders, pad_chunk
from fastai.text.learner import text_classifier_learner
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_clas_split
from fastai.text.models.core import get_text_classifier

from benchmarks.documents import (
    single_text,
    texts,
    token_documents,
    training_documents,
)

_CLASSES = 2


def padded_batches(documents, batch):
    """Returns batches of like lengths, laid out as fastai's loader does."""
    ordered = sorted(documents, key=len, reverse=True)
    return [
        torch.stack(
            [
                pad_chunk(torch.from_numpy(ids), pad_len=len(part[0]))
                for ids in part
            ]
        )
        for part in (
            ordered[start : start + batch]
            for start in range(0, len(ordered), batch)
        )
    ]


def training(vocabulary_size, batches, batch):
    """Returns a function that measures documents a second of an epoch.

    A step is what fastai's `Learner` does with `GradientClip`, without the
    time that its callbacks take.
    """
    torch.manual_seed(0)
    model = get_text_classifier(AWD_LSTM, vocabulary_size, _CLASSES)
    model.train()
    groups = [list(group) for group in awd_lstm_clas_split(model)]
    optimizer = Adam(groups, lr=0.01, mom=0.7, sqr_mom=0.99, wd=1e-6)
    documents = training_documents(batches, batch, vocabulary_size)
    inputs = padded_batches(documents, batch)

    def step(ids):
        model.reset()
        logits = model(ids)[0]
        targets = torch.from_numpy(np.arange(len(ids)) % _CLASSES)
        loss = torch.nn.functional.cross_entropy(logits, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 25.0)
        optimizer.step()
        optimizer.zero_grad()

    def measure():
        started = time.perf_counter()
        for ids in inputs:
            step(ids)
        return len(documents) / (time.perf_counter() - started)

    return measure


def random_learner(vocabulary_size):
    """Returns a learner of random weights whose vocabulary has the texts."""
    torch.manual_seed(0)
    sample = texts(64)[1]
    words = dict.fromkeys(w for text in sample for w in text.lower().split())
    words = [*defaults.text_spec_tok, *words]
    words += [f"unseen{index}" for index in range(vocabulary_size)]
    words = list(dict.fromkeys(words))[:vocabulary_size]
    table = pandas.DataFrame(
        {"text": sample, "label": [i % _CLASSES for i in range(len(sample))]}
    )
    loaders = TextDataLoaders.from_df(
        table, text_col="text", label_col="label", text_vocab=words, bs=64
    )
    learner = text_classifier_learner(loaders, AWD_LSTM, pretrained=False)
    learner.model.eval()
    return learner


def single_predictions(vocabulary_size, text_kind):
    """Returns a function that measures texts a second with `predict`."""
    learner = random_learner(vocabulary_size)
    text = single_text(text_kind)

    def measure():
        started = time.perf_counter()
        with learner.no_bar(), learner.no_logging():
            learner.predict(text)
        return 1 / (time.perf_counter() - started)

    return measure


def batch_predictions(vocabulary_size, documents, batch):
    """Returns a function that measures documents a second, ids ready."""
    torch.manual_seed(0)
    model = get_text_classifier(AWD_LSTM, vocabulary_size, _CLASSES)
    model.eval()
    batches = padded_batches(token_documents(documents, vocabulary_size), batch)

    def measure():
        started = time.perf_counter()
        with torch.no_grad():
            for ids in batches:
                model.reset()
                model(ids)[0].softmax(-1)
        return documents / (time.perf_counter() - started)

    return measure
