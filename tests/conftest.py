"""Fixtures of several folders."""

import random

import pytest

_TOPICS = {
    "food": ["bread", "cheese", "apple", "soup", "rice"],
    "sport": ["goal", "match", "team", "ball", "race"],
}
_COMMON = ["the", "a", "of", "is", "was", "very", "in", "on", "this", "that"]


def pytest_make_parametrize_id(val, argname):
    """A case of bytes takes its argument's name, and pytest numbers it.

    A gzip header holds the time of its writing: an identifier made of the
    bytes differs from process to process, and the processes of pytest-xdist
    refuse to share out tests that they name differently.
    """
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def small_table(tmp_path_factory):
    """A hundred texts of two classes that a word often tells apart."""
    rng = random.Random(0)
    lines = ["text,label"]
    for _ in range(100):
        label = rng.choice(sorted(_TOPICS))
        words = [rng.choice([*_COMMON, *_TOPICS[label]]) for _ in range(8)]
        lines.append(f"{' '.join(words)},{label}")
    path = tmp_path_factory.mktemp("data") / "small.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
