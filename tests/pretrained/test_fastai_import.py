"""fastai's models, imported, compute what the real fastai computed."""

import io
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from ulmfit_tf import models, text
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.pretrained import fastai_format, import_fastai, load_pretrained
from ulmfit_tf.pretrained.fastai_vocabulary import read_words
from ulmfit_tf.pretrained.import_fastai import import_files, main
from ulmfit_tf.pretrained.torch_reader import TorchFile
from ulmfit_tf.pretrained.torch_writer import write_state_dict

GOLDENS = pathlib.Path(__file__).parent / "fastai_goldens"
CASES = {"v2": ("v2_fwd.pth", "forward"), "v1": ("v1_bwd.pth", "backward")}


def sources(case):
    return [str(GOLDENS / CASES[case][0]), str(GOLDENS / f"{case}_itos.pkl")]


def logits_of(model, token_ids):
    """Logits of a batch read as one window from an empty state."""
    start = np.ones(len(token_ids), "int32")
    return np.asarray(
        model.build(len(token_ids))(
            {"token_ids": token_ids, "stream_start": start}, training=False
        )
    )


@pytest.mark.parametrize("case", CASES)
def test_logits_are_fastais(case, tmp_path):
    import_files(sources(case), tmp_path / "model")
    model = load_pretrained(tmp_path / "model", CASES[case][1])
    assert model.architecture == models.Architecture(6, 10, 3)
    words = pickle.loads((GOLDENS / f"{case}_itos.pkl").read_bytes())
    with open(GOLDENS / CASES[case][0], "rb") as file:
        weights = fastai_format.read_weights(TorchFile(file, case), case)
    source_ids = fastai_format.import_language_model(
        weights, words, CASES[case][1], case
    ).source_ids
    assert sorted(source_ids) == list(range(len(words)))
    golden = np.load(GOLDENS / f"{case}_logits.npz")
    our_ids = np.argsort(source_ids)[golden["token_ids"]]
    logits = np.empty_like(golden["logits"])
    logits[:, :, source_ids] = logits_of(model, our_ids)
    assert np.abs(golden["logits"]).max() > 1
    difference = np.abs(logits - golden["logits"]).max()
    assert difference < 1e-4 * np.abs(golden["logits"]).mean()


def test_words_keep_their_weights(tmp_path):
    """By name, though fastai 1 orders the special tokens differently."""
    import_files(sources("v1"), tmp_path / "model")
    model = load_pretrained(tmp_path / "model", "backward")
    words = pickle.loads((GOLDENS / "v1_itos.pkl").read_bytes())
    assert words[5:9] == ["xxmaj", "xxup", "xxrep", "xxwrep"]
    with open(GOLDENS / "v1_bwd.pth", "rb") as file:
        torch_file = TorchFile(file, "v1")
        state = torch_file.state_dict()
        embedding = torch_file.read(state["0.encoder.weight"])
        bias = torch_file.read(state["1.decoder.bias"])
    vocabulary = model.tokenizer.vocabulary
    for word in ("xxmaj", "xxwrep", "the", "naïve", "far"):
        theirs, ours = words.index(word), vocabulary.index(word)
        np.testing.assert_array_equal(
            model.weights["embedding"][ours], embedding[theirs]
        )
        assert model.weights["decoder/bias"][ours] == bias[theirs]
    # Line breaks keep their place, under names that no text has.
    assert vocabulary.tokens[9:12] == ("the", "xxfake0", ".")


def card_of(directory):
    return (directory / "model_card.md").read_text()


def test_the_card_says_where_it_comes_from(tmp_path):
    import_files(sources("v1"), tmp_path / "model")
    card = card_of(tmp_path / "model")
    assert card.startswith("# model, backward\n")
    for part in ("v1_bwd.pth", "v1_itos.pkl", "spaCy", "CC BY-SA 3.0"):
        assert part in card


def tar_with(path, members, **kwargs):
    """Writes a tar archive of names and contents, or of links."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content
                archive.addfile(member)
    return str(path)


def golden_bytes(name):
    return (GOLDENS / name).read_bytes()


def test_an_archive_as_fastai_publishes_them(tmp_path):
    path = tar_with(
        tmp_path / "wt103-fwd.tgz",
        {
            "wt103-fwd/._itos_wt103.pkl": b"of macOS",
            "wt103-fwd/itos_wt103.pkl": golden_bytes("v2_itos.pkl"),
            "wt103-fwd/._lstm_fwd.pth": b"of macOS",
            "wt103-fwd/lstm_fwd.pth": golden_bytes("v2_fwd.pth"),
        },
    )
    import_files([path], tmp_path / "archive")
    import_files(sources("v2"), tmp_path / "files")
    one, other = (
        load_pretrained(tmp_path / name) for name in ("archive", "files")
    )
    for name, array in one.weights.items():
        np.testing.assert_array_equal(array, other.weights[name])
    assert "wt103-fwd.tgz:wt103-fwd/lstm_fwd.pth" in card_of(
        tmp_path / "archive"
    )
    # Nothing but the directories themselves was written.
    assert sorted(os.listdir(tmp_path)) == ["archive", "files", path[-13:]]


@pytest.mark.parametrize(
    "member, content, message",
    [
        ("../../lstm_fwd.pth", b"", "leads out of"),
        ("/tmp/lstm_fwd.pth", b"", "leads out of"),
        ("lstm_fwd.pth", (tarfile.SYMTYPE, "/etc/passwd"), "found none"),
        ("lstm_fwd.pth", (tarfile.LNKTYPE, "itos.pkl"), "found none"),
        ("lstm_fwd.pth", (tarfile.FIFOTYPE, ""), "found none"),
        ("lstm_fwd.pth", b"PK", "damaged"),
        ("other.pth", b"", "found .*lstm_fwd.pth, .*other.pth"),
        ("itos2.pkl", b"", "found .*itos.pkl, .*itos2.pkl"),
    ],
)
def test_hostile_archives(tmp_path, member, content, message):
    members = {
        "itos.pkl": golden_bytes("v2_itos.pkl"),
        "lstm_fwd.pth": golden_bytes("v2_fwd.pth"),
        member: content,
    }
    path = tar_with(tmp_path / "fwd.tgz", members)
    with pytest.raises(DataError, match=message):
        import_files([path], tmp_path / "model")
    assert os.listdir(tmp_path) == ["fwd.tgz"]


def test_an_archive_that_inflates_without_end(tmp_path):
    members = {"itos.pkl": bytes(12 << 20)}
    path = tar_with(tmp_path / "fwd.tgz", members)
    assert os.path.getsize(path) < 1 << 15
    with pytest.raises(DataError, match="larger than"):
        import_files([path], tmp_path / "model")


def test_of_many_files_none_is_copied(tmp_path, monkeypatch):
    """Each of them inflates from next to nothing."""
    members = {"itos.pkl": golden_bytes("v2_itos.pkl")}
    members |= {f"{number}.pth": bytes(1 << 20) for number in range(40)}
    path = tar_with(tmp_path / "fwd.tgz", members)
    copied = []
    copy = import_fastai._copy

    def spy(content, name, stack):
        copied.append(name)
        return copy(content, name, stack)

    monkeypatch.setattr(import_fastai, "_copy", spy)
    with pytest.raises(DataError, match="found .*0.pth, .*1.pth"):
        import_files([path], tmp_path / "model")
    assert copied == ["itos.pkl", "0.pth"]


def test_weights_of_too_large_a_size_are_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(import_fastai, "_LARGEST_WEIGHTS", 1 << 20)
    monkeypatch.setattr(import_fastai, "_copy", None)
    path = tar_with(tmp_path / "fwd.tgz", {"a.pth": bytes((1 << 20) + 1)})
    with pytest.raises(DataError, match="`a.pth` is larger than 1,048,576"):
        import_files([path], tmp_path / "model")


def test_an_archive_cut_short(tmp_path):
    members = {
        "itos.pkl": golden_bytes("v2_itos.pkl"),
        "lstm_fwd.pth": golden_bytes("v2_fwd.pth"),
    }
    path = pathlib.Path(tar_with(tmp_path / "fwd.tgz", members))
    content = path.read_bytes()
    for length in (0, 10, 100, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="damaged or cut short"):
            import_files([path], tmp_path / "model")


class Exploit:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_hostile_vocabularies_are_not_run(tmp_path):
    content = pickle.dumps(["xxunk", Exploit(tmp_path / "made")])
    (tmp_path / "itos.pkl").write_bytes(content)
    with pytest.raises(DataError, match="nothing of it was run"):
        import_files([sources("v2")[0], tmp_path / "itos.pkl"], tmp_path / "m")
    assert os.listdir(tmp_path) == ["itos.pkl"]


@pytest.mark.parametrize(
    "value",
    [
        ["xxunk", "the"],
        ("xxunk", "the"),
        {"the": 1, "xxunk": 0},
    ],
    ids=["list", "tuple", "dict"],
)
def test_kinds_of_vocabularies(value):
    assert read_words(io.BytesIO(pickle.dumps(value)), "itos") == [
        "xxunk",
        "the",
    ]


def test_fastcores_list():
    """As fastcore 2.2.39 pickles `L(['a', 'b'])`."""
    content = (
        b"\x80\x04\x95\x38\0\0\0\0\0\0\0\x8c\x13fastcore.foundation\x94\x8c"
        b"\x01L\x94\x93\x94)\x81\x94}\x94\x8c\x05items\x94]\x94(\x8c\x01a\x94"
        b"\x8c\x01b\x94esb."
    )
    assert read_words(io.BytesIO(content), "itos") == ["a", "b"]


@pytest.mark.parametrize(
    "value", [["a", 1], "ab", {"a": 5}, {"a": 0, "b": 0}, {0: "a"}, 3, None]
)
def test_other_vocabularies_are_refused(value):
    with pytest.raises(DataError, match="not a vocabulary"):
        read_words(io.BytesIO(pickle.dumps(value)), "itos")


def test_an_exported_learner_is_refused():
    with pytest.raises(DataError, match="whole learner"):
        read_words(io.BytesIO(golden_bytes("v2_fwd.pth")), "export.pkl")


def state_of(units=(5, 4), features=4, size=12, **changes):
    """A language model's arrays by fastai's names, and changes to them."""
    rng = np.random.default_rng(0)

    def array(*shape):
        return rng.normal(size=shape).astype("float32")

    embedding = array(size, features)
    state = {"0.encoder.weight": embedding}
    for index, width in enumerate(units):
        layer = f"0.rnns.{index}"
        state[f"{layer}.weight_hh_l0_raw"] = array(4 * width, width)
        state[f"{layer}.module.weight_ih_l0"] = array(4 * width, features)
        state[f"{layer}.module.bias_ih_l0"] = array(4 * width)
        state[f"{layer}.module.bias_hh_l0"] = array(4 * width)
        features = width
    state["1.decoder.weight"] = embedding
    state["1.decoder.bias"] = array(size)
    for name, value in changes.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


def words_of(size=12):
    return [*text.SPECIAL_TOKENS, *"abcdefghijk"][:size]


def import_state(state, words=None):
    file = io.BytesIO()
    write_state_dict(file, state)
    weights = fastai_format.read_weights(TorchFile(file, "lm.pth"), "lm.pth")
    return fastai_format.import_language_model(
        weights, words or words_of(), "forward", "lm.pth"
    )


def zeros(*shape):
    return np.zeros(shape, "float32")


@pytest.mark.parametrize("units", [(4,), (5, 4), (7, 7, 7, 4)])
def test_sizes_come_from_the_shapes(units):
    imported = import_state(state_of(units))
    expected = models.Architecture(4, units[0], len(units))
    assert imported.model.architecture == expected
    assert imported.notes == []


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"0.rnns.0.layers.0.linear.weight_raw": zeros(2)}, "QRNN"),
        ({"0.rnns.0.module.weight_ih_l0_reverse": zeros(2)}, "both directions"),
        ({"0.module.encoder.weight": zeros(2)}, "text classifier"),
        ({"0.layers.0.mhra.attention.weight": zeros(2)}, "no AWD-LSTM"),
        ({"0.encoder.weight": None}, "no AWD-LSTM"),
        ({"0.rnns.0.module.weight_ih_l1": zeros(2)}, "no AWD-LSTM"),
        ({"1.decoder.weight": zeros(12, 4)}, "matrix of its own"),
        ({"1.decoder.weight": zeros(4, 12)}, "shape"),
        ({"1.decoder.bias": zeros(11)}, "shape"),
        ({"0.rnns.0.module.bias_hh_l0": None}, "lacks bias_hh_l0"),
        ({"0.rnns.1.weight_hh_l0_raw": None}, "lacks weight_hh_l0"),
        ({"0.rnns.0.weight_hh_l0_raw": zeros(20, 4)}, "shape"),
        ({"0.rnns.0.module.bias_ih_l0": zeros()}, "shape"),
        ({"0.encoder.weight": zeros()}, "shape"),
        ({"0.rnns.3.weight_hh_l0_raw": zeros(20, 5)}, "layers"),
        ({"1.decoder.bias": np.full(12, np.nan, "float32")}, "not finite"),
    ],
)
def test_other_models_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        import_state(state_of(**changes))


def test_a_last_layer_of_another_width_is_refused():
    with pytest.raises(DataError, match="as wide as its embedding"):
        import_state(state_of((5, 5)))


def test_the_raw_recurrent_kernel_is_taken():
    dropped = {"0.rnns.0.module.weight_hh_l0": zeros(20, 5)}
    state = state_of(**dropped)
    np.testing.assert_array_equal(
        import_state(state).model.weights["lstm_1/recurrent_kernel"],
        state["0.rnns.0.weight_hh_l0_raw"].T,
    )
    # Without weight dropout there is only the plain one.
    del state["0.rnns.0.weight_hh_l0_raw"]
    found = import_state(state).model.weights["lstm_1/recurrent_kernel"]
    np.testing.assert_array_equal(found, zeros(5, 20))


def test_an_encoder_alone():
    state = {
        name.removeprefix("0."): array
        for name, array in state_of().items()
        if name.startswith("0.")
    }
    imported = import_state(state)
    assert not imported.model.weights["decoder/bias"].any()
    assert "no output bias" in imported.notes[0]


def test_missing_special_tokens_start_at_the_mean():
    words = ["_unk_", "_pad_", "the", "cat", *"abcdefgh"]
    imported = import_state(state_of(), words)
    vocabulary = imported.model.tokenizer.vocabulary
    assert vocabulary.tokens[9:] == tuple(words[2:])
    rows = state_of()["0.encoder.weight"]
    ours = imported.model.weights["embedding"]
    np.testing.assert_array_equal(ours[text.UNKNOWN_ID], rows[0])
    np.testing.assert_allclose(
        ours[vocabulary.index("xxmaj")], rows.mean(0), atol=1e-6
    )
    assert "lacks xxbos, xxeos" in imported.notes[0]


def test_of_equal_words_the_last_counts():
    """As in fastai, which looks words up in a dict."""
    words = [*text.SPECIAL_TOKENS, "the", "xxfake", "the"]
    imported = import_state(state_of(), words)
    vocabulary = imported.model.tokenizer.vocabulary
    assert vocabulary.tokens[9:] == ("xxfake0", "xxfake", "the")
    assert imported.source_ids[vocabulary.index("the")] == 11


def test_words_that_no_file_can_hold():
    words = [*text.SPECIAL_TOKENS, "", "\r", "\ud800"]
    vocabulary = import_state(state_of(), words).model.tokenizer.vocabulary
    assert vocabulary.tokens[9:] == ("xxfake0", "xxfake1", "xxfake2")


def test_cased_vocabularies_are_told():
    cased = import_state(state_of(), [*text.SPECIAL_TOKENS, "The", "Cat", "a"])
    assert not cased.model.tokenizer.lowercase
    assert "cased" in cased.notes[0]
    assert import_state(state_of()).model.tokenizer.lowercase


@pytest.mark.parametrize(
    "words, message",
    [
        (words_of(11), "has 11 words.*for 12"),
        ([*"abcdefghijkl"], "no `xxunk`"),
        ([*text.SPECIAL_TOKENS, "▁the", "▁cat", "s"], "SentencePiece"),
    ],
)
def test_vocabularies_that_do_not_fit(words, message):
    with pytest.raises(DataError, match=message):
        import_state(state_of(), words)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("lstm_fwd.pth", "forward"),
        ("lm-bwd.pth", "backward"),
        ("forward.pth", "forward"),
        ("lm.pth", None),
        ("fwd_bwd.pth", None),
        ("forwarded.pth", None),
    ],
)
def test_the_direction_is_told_from_the_name(tmp_path, name, expected):
    write_state_dict(tmp_path / name, state_of())
    (tmp_path / "itos.pkl").write_bytes(pickle.dumps(words_of()))
    files = [tmp_path / name, tmp_path / "itos.pkl"]
    if expected is None:
        with pytest.raises(DataError, match="--direction"):
            import_files(files, tmp_path / "model")
        expected = "backward"
        import_files(files, tmp_path / "model", expected)
    else:
        import_files(files, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["direction"] == expected


def test_the_command_in_a_process_of_its_own(tmp_path):
    """Where neither torch nor fastai can be imported."""
    for name in ("torch", "fastai", "fastcore"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    run = subprocess.run(
        [sys.executable, "-m", "ulmfit_tf.pretrained.import_fastai"]
        + [*sources("v2"), "--output", str(tmp_path / "model")],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": f"{pathlib.Path.cwd()}{os.pathsep}{tmp_path}",
        },
    )
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert figures["language_model"] == str(tmp_path / "model")
    assert (figures["direction"], figures["hidden_units"]) == ("forward", 10)


@pytest.mark.parametrize(
    "names, message",
    [
        (["nowhere.tgz"], "no file `.*nowhere.tgz`"),
        (["v2_fwd.pth"], "One file of vocabulary is needed; found none"),
        (["v2_fwd.pth", "v1_bwd.pth", "v2_itos.pkl"], "found v2_fwd.pth, v1"),
        (["v2_logits.npz", "v2_itos.pkl"], "neither an archive"),
        (["."], "no file"),
        (["v2_fwd.pth", "v1_itos.pkl"], "v1_itos.pkl. has 18 words.*for 32"),
    ],
)
def test_mistakes_end_with_one_message(tmp_path, capsys, names, message):
    arguments = [str(GOLDENS / name) for name in names]
    assert main([*arguments, "--output", str(tmp_path / "model")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(f"error: .*{message}.*\n", captured.err)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"GNU.sparse.map": "0,x"}, "a sparse file"),
        ({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, "a sparse file"),
        ({"GNU.sparse.realsize": "x"}, "damaged or cut short"),
    ],
)
def test_hostile_attributes_end_with_one_message(
    tmp_path, capsys, attributes, message
):
    path = tmp_path / "fwd.tgz"
    with tarfile.open(path, "w:gz", pax_headers=attributes) as archive:
        archive.addfile(tarfile.TarInfo("itos.pkl"))
    assert main([str(path), "--output", str(tmp_path / "model")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(f"error: .*{message}.*\n", captured.err)
    assert os.listdir(tmp_path) == ["fwd.tgz"]


def test_an_output_that_exists_is_left_alone(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    arguments = [*sources("v2"), "--output", str(tmp_path / "model")]
    assert main(arguments) == 2
    assert "left as it is" in capsys.readouterr().err
