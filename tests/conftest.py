"""Fixtures of several folders."""

import random

import pytest

_TOPICS = {
    "food": ["bread", "cheese", "apple", "soup", "rice"],
    "sport": ["goal", "match", "team", "ball", "race"],
}
_COMMON = ["the", "a", "of", "is", "was", "very", "in", "on", "this", "that"]


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
