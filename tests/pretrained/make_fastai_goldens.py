"""Makes the files of `fastai_goldens/`, with the real fastai and PyTorch.

    python make_fastai_goldens.py make awd_lstm.py

runs where fastai 2 and PyTorch are installed (2.8.12 and 2.13 made what is
here). `awd_lstm.py` is fastai 1.0.61's `fastai/text/models/awd_lstm.py`;
the model in it is what is run and saved, while the package around it no longer
imports beside today's libraries.

    python make_fastai_goldens.py logits model.pth itos.pkl logits.npz

has fastai 2 load a model and computes its logits.
"""

import pathlib
import pickle
import re
import sys
import tempfile
import typing
import warnings

import numpy as np
import pandas as pd
import torch
from fastai.text import all as fastai2

warnings.filterwarnings("ignore")
GOLDENS = pathlib.Path(__file__).parent / "fastai_goldens"
SIZES = {"emb_sz": 6, "n_hid": 10, "n_layers": 3}
TEXTS = [
    "The cat sat on the mat near the dog.",
    "A dog ran far away from the cat on the hill.",
    "The HILL was far away and the mat was GREEN.",
]


def logits_of(model, size):
    """Ids and the logits of a model that reads them in two calls."""
    ids = np.random.default_rng(0).integers(2, size, (2, 11))
    model.eval()
    model.reset()
    with torch.no_grad():
        parts = [model(torch.tensor(p))[0] for p in (ids[:, :7], ids[:, 7:])]
    return {"token_ids": ids, "logits": torch.cat(parts, 1).numpy()}


def randomize(model):
    """Gives every parameter values that a mistake could not hide behind."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.5)
    # Leaves a recurrent kernel with dropout beside the raw one.
    model.train()
    model.reset()
    model(torch.full((1, 3), 2))


def make_v2():
    """A learner's own file: zip format, weights and optimizer."""
    with tempfile.TemporaryDirectory() as folder:
        data = fastai2.TextDataLoaders.from_df(
            pd.DataFrame({"text": TEXTS * 6}),
            text_col="text",
            is_lm=True,
            bs=4,
            seq_len=8,
            min_freq=2,
        )
        learner = fastai2.language_model_learner(
            data,
            fastai2.AWD_LSTM,
            config={**fastai2.awd_lstm_lm_config, **SIZES},
            pretrained=False,
            path=folder,
        )
        learner.fit(1, 1e-2)
        randomize(learner.model)
        path = learner.save("lm", with_opt=True)
        (GOLDENS / "v2_fwd.pth").write_bytes(path.read_bytes())
    fastai2.save_pickle(GOLDENS / "v2_itos.pkl", data.vocab)
    size = len(data.vocab)
    np.savez(GOLDENS / "v2_logits.npz", **logits_of(learner.model, size))


def make_v1(source):
    """fastai 1's model, and its vocabulary's order, in the older format."""
    code = pathlib.Path(source).read_text()
    # Without its imports, and what comes after the models.
    code = re.sub(r"(?m)^(from|import) .*", "", code)
    code = code.split("def value2rgba")[0]
    names = {**vars(typing), **vars(fastai2)}
    exec(compile(code, source, "exec"), names)
    specials = "unk pad bos eos fld maj up rep wrep"
    words = [f"xx{name}" for name in specials.split(" ")]
    words += ["the", "\n", ".", "cat", "dog", "\n\n", "hill", "naïve", "far"]
    encoder = names["AWD_LSTM"](len(words), **SIZES)
    decoder = names["LinearDecoder"](
        len(words), SIZES["emb_sz"], 0.1, tie_encoder=encoder.encoder
    )
    model = names["SequentialRNN"](encoder, decoder)
    optimizer = torch.optim.Adam(model.parameters())
    randomize(model)
    state = model.state_dict()
    raw = state["0.rnns.0.weight_hh_l0_raw"]
    assert not torch.equal(state["0.rnns.0.module.weight_hh_l0"], raw)
    torch.save(
        {"model": state, "opt": optimizer.state_dict()},
        GOLDENS / "v1_bwd.pth",
        _use_new_zipfile_serialization=False,
    )
    (GOLDENS / "v1_itos.pkl").write_bytes(pickle.dumps(words))
    np.savez(GOLDENS / "v1_logits.npz", **logits_of(model, len(words)))


def write_logits(weights, vocabulary, output):
    """Lets fastai 2 load a model file, every name of it, and run it."""
    words = fastai2.load_pickle(vocabulary)
    state = torch.load(weights, weights_only=True)
    rnns = [name for name in state if name.endswith("weight_hh_l0_raw")]
    sizes = {
        "emb_sz": state["0.encoder.weight"].shape[1],
        "n_hid": state[rnns[0]].shape[1],
        "n_layers": len(rnns),
    }
    config = {**fastai2.awd_lstm_lm_config, **sizes}
    model = fastai2.get_language_model(
        fastai2.AWD_LSTM, len(words), config=config
    )
    fastai2.load_model(weights, model, None, with_opt=False, strict=True)
    np.savez(output, words=words, **logits_of(model, len(words)))


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    if command == "make":
        GOLDENS.mkdir(exist_ok=True)
        make_v2()
        make_v1(*paths)
    else:
        write_logits(*paths)
