"""Language models go to fastai's format and come back."""

import dataclasses
import json
import os
import pathlib
import pickle
import shutil
import subprocess

import numpy as np
import pytest

from ulmfit_tf.pretrained import load_pretrained
from ulmfit_tf.pretrained.export_fastai import export_language_model, main
from ulmfit_tf.pretrained.import_fastai import import_files
from ulmfit_tf.pretrained.torch_reader import TorchFile

GOLDENS = pathlib.Path(__file__).parent / "fastai_goldens"
MAKER = pathlib.Path(__file__).parent / "make_fastai_goldens.py"
# A Python that has fastai 2 and PyTorch; the project itself needs neither.
FASTAI_PYTHON = os.environ.get("ULMFIT_TF_FASTAI_PYTHON")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    names = ("v2_fwd.pth", "v2_itos.pkl")
    import_files([GOLDENS / name for name in names], root / "model")
    arguments = [str(root / "model"), "--output", str(root / "fastai")]
    assert main(arguments) == 0
    return root / "fastai"


def test_what_fastai_wrote_comes_out_again(exported):
    """Name by name, in its order; of the biases their sum."""
    states = []
    for path in (GOLDENS / "v2_fwd.pth", exported / "lstm_fwd.pth"):
        with open(path, "rb") as file:
            torch_file = TorchFile(file, path)
            states.append(
                {
                    name: torch_file.read(tensor)
                    for name, tensor in torch_file.state_dict().items()
                }
            )
    theirs, ours = states
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        if "bias_" not in name:
            np.testing.assert_array_equal(ours[name], array, err_msg=name)
        elif "bias_ih" in name:
            other = name.replace("bias_ih", "bias_hh")
            np.testing.assert_array_equal(
                ours[name] + ours[other], array + theirs[other]
            )


def test_the_vocabulary_is_a_plain_list(exported):
    words = pickle.loads((exported / "itos.pkl").read_bytes())
    golden = pickle.loads((GOLDENS / "v2_itos.pkl").read_bytes())
    # The fillers at the end are told apart.
    assert words[:26] == golden[:26] and len(words) == len(golden)
    assert len(set(words)) == len(words)


def test_back_from_fastai(exported, tmp_path):
    import_files([*exported.glob("*.p*")], tmp_path / "model")
    again = load_pretrained(tmp_path / "model")
    first = load_pretrained(exported.parent / "model")
    assert again.tokenizer.vocabulary == first.tokenizer.vocabulary
    for name, array in first.weights.items():
        np.testing.assert_array_equal(again.weights[name], array)


def test_mistakes_end_with_one_message(exported, capsys):
    model = str(exported.parent / "model")
    for arguments, message in [
        (["nowhere", "--output", "new"], "no pretrained forward"),
        ([model, "--output", str(exported)], "left as it is"),
        ([model, "--output", "new", "--direction", "backward"], "backward"),
    ]:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error
        assert not os.path.exists("new")


def test_models_of_pieces_are_refused(exported, tmp_path):
    model = load_pretrained(exported.parent / "model")
    of_pieces = dataclasses.replace(model, tokenizer=object())
    with pytest.raises(ValueError, match="Only language models of words"):
        export_language_model(of_pieces, tmp_path / "new")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(
    not FASTAI_PYTHON or not shutil.which(FASTAI_PYTHON),
    reason="set ULMFIT_TF_FASTAI_PYTHON to a Python with fastai 2",
)
def test_the_real_fastai_loads_it(exported, tmp_path):
    """Strictly, with no pickled code allowed, and to the same logits."""
    files = [exported / "lstm_fwd.pth", exported / "itos.pkl"]
    subprocess.run(
        [FASTAI_PYTHON, MAKER, "logits", *files, tmp_path / "logits.npz"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    found = np.load(tmp_path / "logits.npz")
    golden = np.load(GOLDENS / "v2_logits.npz")
    np.testing.assert_array_equal(found["token_ids"], golden["token_ids"])
    np.testing.assert_allclose(
        found["logits"], golden["logits"], rtol=1e-4, atol=1e-5
    )


def test_the_figures_name_fastais_config(tmp_path, capsys, exported):
    model = str(exported.parent / "model")
    main([model, "--output", str(tmp_path / "fastai")])
    figures = json.loads(capsys.readouterr().out)
    assert figures["config"] == {"emb_sz": 6, "n_hid": 10, "n_layers": 3}
