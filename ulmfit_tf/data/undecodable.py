"""Texts whose bytes were no UTF-8: a few are told, many are a mistake."""

import dataclasses

from ulmfit_tf.data.errors import DataError

CONVERT = (
    "Is the file in another encoding, such as the Windows-1252 of Excel's "
    "plain CSV? Save it as `CSV UTF-8`, or convert it: "
    "iconv -f CP1252 -t UTF-8 OLD > NEW."
)
# What decoding puts in a byte's place.
_REPLACEMENT = "\ufffd"
# Share of texts: one in a hundred happens to scraped texts, but a file in
# another encoding has more, and a model of it would know no served word of
# them. In a small set one or two are no sign of that.
_MANY = 0.01
_FEW, _MANY_OF_FEW = 2, 0.1


def with_note_of_undecodable(dataset):
    """Returns a data set that says how many texts have broken characters.

    Args:
        dataset: `TextDataset`.

    Raises:
        DataError: If many have, or the name of a class has.
    """
    broken = [name for name in dataset.classes if _REPLACEMENT in name]
    if broken:
        raise DataError(
            f"The labels {broken[:5]} of `{dataset.name}` hold characters "
            f"that are no UTF-8. {CONVERT}"
        )
    texts = [
        *dataset.train_texts,
        *(dataset.test_texts or ()),
        *dataset.unlabelled_texts,
    ]
    count = sum(_REPLACEMENT in text for text in texts)
    if not count:
        return dataset
    found = (
        f"{count} of the {len(texts)} texts of `{dataset.name}` hold "
        "characters that are no UTF-8"
    )
    few = min(_FEW, _MANY_OF_FEW * len(texts))
    if count > max(few, _MANY * len(texts)):
        raise DataError(
            f"{found}. {CONVERT} Characters that are U+FFFD in the file "
            "itself can only be removed."
        )
    note = f"{found}; they were replaced by U+FFFD."
    return dataclasses.replace(dataset, notes=(*dataset.notes, note))
