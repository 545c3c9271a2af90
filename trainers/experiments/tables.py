"""Result tables, as Markdown for readers and CSV for programs."""

import csv
import io
import pathlib

import numpy as np

from ulmfit_tf.whole_files import written_whole


def write_table(stem, title, columns, rows, notes=()):
    """Writes `stem.md` and `stem.csv`, each whole or not at all.

    Args:
        stem: Path without suffix.
        title: Str.
        columns: Dict from a row's keys to what readers see; the CSV file has
            the keys.
        rows: List of dicts. Numbers show with two decimals in Markdown, small
            ones with three digits, what is missing as a dash.
        notes: Iterable of str, paragraphs below the table.
    """
    stem = pathlib.Path(stem)
    lines = [
        f"# {title}",
        "",
        _line(columns.values()),
        _line("---" for _ in columns),
        *(_line(_shown(row.get(key)) for key in columns) for row in rows),
    ]
    for note in notes:
        lines += ["", note]
    _write(stem.with_suffix(".md"), "\n".join(lines) + "\n")
    content = io.StringIO()
    writer = csv.DictWriter(
        content, columns, extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    _write(stem.with_suffix(".csv"), content.getvalue())


def summary(errors):
    """Returns the columns `mean`, `lowest`, `highest`, `seeds` of errors.

    Args:
        errors: List of floats, per cent, one a seed; it may be empty. Of a
            seed that diverged it has `None`: the others are summed up, and
            `seeds` is their number.
    """
    if not errors:
        return {"seeds": 0}
    row = {
        "seeds": len(ended(errors)),
        "errors": " ".join(
            DIVERGED if error is None else f"{error:.4g}" for error in errors
        ),
    }
    if not ended(errors):
        return row
    return {
        "mean": round(float(np.mean(ended(errors))), 4),
        "lowest": min(ended(errors)),
        "highest": max(ended(errors)),
        **row,
    }


def ended(errors):
    """Returns the errors of the seeds that did not diverge."""
    return [error for error in errors if error is not None]


DIVERGED = "diverged"


SUMMARY_COLUMNS = {
    "mean": "mean",
    "lowest": "lowest",
    "highest": "highest",
    "seeds": "seeds",
    "errors": "each seed",
}


def _line(cells):
    return f"| {' | '.join(cells)} |"


def _shown(value):
    if value is None:
        return "–"
    if isinstance(value, float):
        # Rates would all be 0.00.
        return f"{value:.3g}" if 0 < abs(value) < 0.1 else f"{value:.2f}"
    return str(value).replace("|", "\\|")


def _write(path, content):
    with written_whole(path) as beside:
        beside.write_text(content, encoding="utf-8")
