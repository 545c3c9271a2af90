"""Documents for language-model pretraining, streamed from disk."""

import difflib
import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ulmfit_tf.data.archives import read_members
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import (
    COMPRESSIONS,
    data_suffix,
    decode_lines,
    read_lines,
)
from ulmfit_tf.data.plain_text import read_plain_text
from ulmfit_tf.data.sources import Layout, Source, resolve
from ulmfit_tf.data.tables import (
    TABLE_SUFFIXES,
    parse_csv,
    read_records,
    require_columns,
    text_of,
)
from ulmfit_tf.whole_files import sha256_of

logger = logging.getLogger(__name__)

CORPUS_SUFFIXES = (".txt", ".tokens", *TABLE_SUFFIXES)

# A level-1 heading of WikiText; ` = = Section = = ` is level 2.
_ARTICLE_HEADING = re.compile(r" = [^=]+ = ?")

CORPORA: dict[str, Source] = {
    "wikitext-103": Source(
        name="wikitext-103",
        folders=("wikitext-103",),
        layouts=(
            Layout(("wiki.train.tokens",)),
            Layout(("wikitext-103/wiki.train.tokens",)),
            Layout(("wikitext-103.tgz",)),
        ),
        addresses=("https://s3.amazonaws.com/fast-ai-nlp/wikitext-103.tgz",),
    ),
    # Not published under an address of its own.
    "wikipedia-en-2015": Source(
        name="wikipedia-en-2015",
        folders=("wikipedia-en-2015",),
        # Plain or compressed, one beside the other.
        layouts=(Layout(("wiki-*.jsonl*",)),),
    ),
}


def iter_documents(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    text_column: str = "text",
    cache_dir: str | Path | None = None,
    files: Iterable[Path] | None = None,
) -> Iterator[str]:
    """Streams the documents of a corpus, in an order that never changes.

    Holds one document in memory at a time. Of a file that is there plain and
    compressed as well, the plain one is read. Files are found before the
    first document is asked for, so that a wrong name fails at once.

    Formats, by suffix (`.gz` and `.xz` of them too):
        `.tokens`: WikiText; an article starts at its ` = Title = ` line.
        `.txt`: One document per line, or per block where blank lines
            separate blocks; see `read_plain_text`.
        `.csv`, `.tsv`, `.jsonl`: One per record.
    The registered `wikipedia-en-2015` has the title as first line.

    Args:
        name_or_path: A registered name (see `CORPORA`), a file, a folder,
            or a glob pattern.
        data_dir: Folder to look for registered corpora in, before
            `$ULMFIT_TF_DATA` and the cache.
        text_column: Column that holds the text of a user's table.
        cache_dir: Cache folder; `None` for the user's.
        files: What `corpus_files` returned, to read these and none that
            have appeared since.

    Raises:
        DataError: If there is no such corpus, or it cannot be read.

    Example:

    ```python
    for document in iter_documents("corpus/*.txt"):
        ...
    ```
    """
    if files is None:
        files = corpus_files(name_or_path, data_dir, cache_dir)
    with_title = str(name_or_path) == "wikipedia-en-2015"
    return _documents(list(files), text_column, with_title)


def corpus_files(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> list[Path]:
    """Returns the files of a corpus in the order they are read.

    Takes the arguments of `iter_documents`.

    Raises:
        DataError: If there is no such corpus.
    """
    name = str(name_or_path)
    if name in CORPORA:
        _, paths = resolve(CORPORA[name], data_dir, cache_dir)
        return _one_form_each(path for path in paths if _is_readable(path))
    try:
        path = Path(name).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"The corpus `{name:.80}` is no path that can be looked up: "
            f"{str(error):.200}. Expected: the path of a file or folder."
        ) from error
    if is_file:
        _check_suffix(path)
        return [path]
    files = _usable(
        _files_below(path)
        if is_folder
        else map(Path, glob.glob(str(path), recursive=True))
    )
    # A link leads to the same file again, one to a folder above to all.
    files = list({os.path.realpath(each): each for each in files}.values())
    if files:
        return files
    near = difflib.get_close_matches(name.lower(), CORPORA, n=1)
    raise DataError(
        f"There is no corpus `{name}`."
        + (f" Did you mean `{near[0]}`?" if near else "")
        + f" Expected: one of {', '.join(CORPORA)}, or the path of a file, "
        f"folder or glob pattern of {', '.join(CORPUS_SUFFIXES)} files "
        "(also as .gz or .xz)."
    )


def fingerprint(files: Iterable[str | Path]) -> list[dict[str, str | int]]:
    """Identifies the content of files.

    Reads all of them, at a gigabyte in about a second: an edit in the middle
    of a large file would else be missed, and the times of a copy are others.

    Args:
        files: The files.

    Returns:
        One JSON object per file: its `name`, `size` in bytes, and `sha256`.
        Independent of where the file lies and of its times.

    Raises:
        DataError: If a file cannot be read.
    """
    return [_fingerprint(Path(path)) for path in files]


def _fingerprint(path):
    try:
        digest, size = sha256_of(path), path.stat().st_size
    except OSError as error:
        raise DataError(
            f"`{path}` could not be read: {error}. Check the path and its "
            "permissions."
        ) from error
    return {"name": path.name, "size": size, "sha256": digest}


def _plain(path):
    """Returns what a file would be called if it were not compressed."""
    compressed = path.suffix.lower() in COMPRESSIONS
    return path.with_suffix("") if compressed else path


def _one_form_each(paths):
    """Keeps, of a file's plain and compressed forms, the first of these."""
    forms = ["", *COMPRESSIONS]
    best: dict[Path, tuple[int, Path]] = {}
    for path in paths:
        stem = _plain(path)
        form = forms.index("" if stem == path else path.suffix.lower())
        if stem not in best or form < best[stem][0]:
            best[stem] = (form, path)
    return [path for _, path in sorted(best.values(), key=lambda b: b[1])]


def _files_below(folder):
    """Yields the files of a folder, those of linked folders as well."""

    def refuse(error):
        raise DataError(
            f"`{error.filename}` could not be read: {error}. Check its "
            "permissions."
        ) from error

    seen = set()
    for name, folders, files in os.walk(
        folder, onerror=refuse, followlinks=True
    ):
        real = os.path.realpath(name)
        # Hidden files and folders are some program's, not texts.
        folders[:] = [
            each
            for each in folders
            if not each.startswith(".") and real not in seen
        ]
        if real in seen:
            continue
        seen.add(real)
        for each in files:
            if not each.startswith("."):
                yield Path(name, each)


def _usable(paths):
    files = _one_form_each(
        path
        for path in paths
        if path.is_file() and data_suffix(path) in CORPUS_SUFFIXES
    )
    if any(_plain(path).name == "wiki.train.tokens" for path in files):
        # WikiText's folder: its other two files are for perplexity only.
        held_out = ("wiki.valid.tokens", "wiki.test.tokens")
        files = [path for path in files if _plain(path).name not in held_out]
    return files


def _is_readable(path):
    return data_suffix(path) in (*CORPUS_SUFFIXES, ".tgz")


def _check_suffix(path):
    if not _is_readable(path):
        raise DataError(
            f"`{path}` has no format that documents can be read from. "
            f"Expected: {', '.join(CORPUS_SUFFIXES)} (also as .gz or .xz)."
        )


def _documents(files, text_column, with_title):
    empty = True
    for path in files:
        for document in _read_file(path, text_column, with_title):
            empty = False
            yield document
    if empty:
        raise DataError(
            f"{', '.join(f'`{path}`' for path in files[:3])} "
            f"({len(files)} files) hold no documents. Expected at least one "
            "that is not blank."
        )


def _read_file(path, text_column, with_title):
    suffix = data_suffix(path)
    if suffix == ".tgz":
        return _read_wikitext_archive(path)
    if suffix == ".tokens":
        return _wikitext_articles(read_lines(path))
    if suffix == ".txt":
        return read_plain_text(path)
    return _read_table(path, text_column, with_title)


def _read_table(path, text_column, with_title):
    lacking = 0
    for number, (line_number, record) in enumerate(read_records(path)):
        if number == 0:
            require_columns(path, record, text_column)
        lacking += text_column not in record
        text = text_of(path, line_number, record, text_column)
        if text:
            title = with_title and text_of(path, line_number, record, "title")
            yield f"{title}\n{text}" if title else text
    if lacking:
        logger.warning(
            "%s: %d of %d records have no `%s`; they are left out.",
            path,
            lacking,
            number + 1,
            text_column,
        )


def _wikitext_articles(lines):
    article: list[str] = []
    previous_blank = True
    for line, following in _with_next(lines):
        # A formula between text lines can look like a heading.
        heading = (
            previous_blank
            and not following.strip()
            and _ARTICLE_HEADING.fullmatch(line.rstrip("\r\n"))
        )
        if heading and article:
            yield "".join(article)
            article = []
        previous_blank = not line.strip()
        if article or not previous_blank:
            article.append(line)
    if article:
        yield "".join(article)


def _with_next(lines):
    lines = iter(lines)
    line = next(lines, None)
    while line is not None:
        following = next(lines, None)
        yield line, following or ""
        line = following


def _read_wikitext_archive(path):
    # Members by either name: the release's own, or one article per CSV row.
    wanted = re.compile(r"(?:.*/)?(?:wiki\.train\.tokens|train\.csv)")
    for member, file in read_members(path, wanted):
        lines = decode_lines(f"{path}:{member}", file)
        if member.endswith(".csv"):
            for _, row in parse_csv(path, lines):
                if row[0].strip():
                    yield row[0]
        else:
            yield from _wikitext_articles(lines)
