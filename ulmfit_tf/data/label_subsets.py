"""Subsets of texts with several labels in which labels keep their shares."""

import numpy as np


def stratified_subset(
    labels: np.ndarray, size: int, at_least: int, seed: int
) -> np.ndarray:
    """Chooses texts so that each label is about as frequent as in all.

    Iterative stratification (Sechidis et al., 2011): the label with the
    fewest texts left is dealt out first, each of its texts to the side that
    lacks most of the label, as frequent labels come right by themselves and
    rare ones do not. Before that the subset gets `at_least` texts of each
    label, the rarest first.

    Args:
        labels: Bool array `(texts, classes)`.
        size: Number of texts to choose.
        at_least: Texts of each label that the subset gets first, as far as
            there are so many and `size` allows.
        seed: Seed; the same seed chooses the same texts.

    Returns:
        int64 `(size,)`, indices of the chosen texts, ascending.

    Reference:
        Sechidis, Tsoumakas & Vlahavas (2011), On the stratification of
        multi-label data, figure 1.
    """
    rng = np.random.default_rng(seed)
    num_texts = len(labels)
    chosen = _some_of_each(labels, size, at_least, rng)
    waiting = np.ones(num_texts, bool)
    waiting[chosen] = False
    # Row 0 is the subset, row 1 the rest.
    fraction = size / max(num_texts, 1)
    lacking = labels.sum(axis=0) * np.array([[fraction], [1 - fraction]])
    lacking[0] -= labels[chosen].sum(axis=0)
    left = labels[waiting].sum(axis=0)
    room = np.array([size - len(chosen), num_texts - size])
    sides: list[list[int]] = [chosen, []]

    def deal(text, wanted):
        # The side that lacks most; among equals the one with more room.
        open_sides = np.flatnonzero(room)
        key = [(wanted[side], room[side], rng.random()) for side in open_sides]
        side = open_sides[max(range(len(key)), key=key.__getitem__)]
        sides[side].append(text)
        room[side] -= 1
        lacking[side] -= labels[text]
        left[labels[text]] -= 1
        waiting[text] = False

    while left.any():
        rarest = np.where(left > 0, left, num_texts + 1).argmin()
        texts = np.flatnonzero(waiting & labels[:, rarest])
        for text in rng.permutation(texts):
            deal(text, lacking[:, rarest])
    for text in rng.permutation(np.flatnonzero(waiting)):
        deal(text, room)
    return np.sort(np.array(sides[0], "int64"))


def _some_of_each(labels, size, at_least, rng):
    chosen: list[int] = []
    counts = labels.sum(axis=0)
    for label in np.argsort(counts, kind="stable"):
        members = rng.permutation(np.flatnonzero(labels[:, label]))
        have = int(labels[chosen, label].sum())
        wanted = max(0, min(at_least - have, size - len(chosen)))
        if wanted:
            new = members[~np.isin(members, chosen)]
            chosen += new[:wanted].tolist()
    return chosen
