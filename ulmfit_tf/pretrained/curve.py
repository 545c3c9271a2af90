"""How well a language model did while it was trained, kept beside it."""

import csv
import dataclasses
import io
import math
import pathlib

FILE = "curve.csv"
_HEADER = ["million_tokens", "perplexity"]


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """One report of a training.

    Attributes:
        million_tokens: Float, tokens read up to there, in millions.
        perplexity: Float, a token of the text held out.
    """

    million_tokens: float
    perplexity: float


def curve_text(points):
    """Returns what `read_curve` reads, a CSV of one line a report.

    Args:
        points: Sequence of `CurvePoint`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for point in points:
        writer.writerow(
            [f"{point.million_tokens:.6g}", f"{point.perplexity:.6g}"]
        )
    return text.getvalue()


def read_curve(directory):
    """Returns the curve in a model directory, `()` if it has none.

    Args:
        directory: Path.

    Returns:
        A tuple of `CurvePoint`, in the order of training.

    Raises:
        ValueError: If the file is not what `curve_text` wrote.
    """
    path = pathlib.Path(directory) / FILE
    if not path.exists():
        return ()
    try:
        header, *rows = csv.reader(path.read_text("utf-8").splitlines())
        if header != _HEADER:
            raise ValueError(f"its columns are {header}")
        points = tuple(
            CurvePoint(float(tokens), float(perplexity))
            for tokens, perplexity in rows
        )
        tokens = [point.million_tokens for point in points]
        figures = [*tokens, *(point.perplexity for point in points)]
        if not all(math.isfinite(each) and each > 0 for each in figures):
            raise ValueError("not all of its figures are above 0")
        if any(b <= a for a, b in zip(tokens, tokens[1:], strict=False)):
            raise ValueError("its tokens do not grow")
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(
            f"`{path}` cannot be read as a curve of perplexity: {error}. "
            f"Expected lines of `{','.join(_HEADER)}`. Remove the file: the "
            "model can be used without it."
        ) from error
    return points
