"""Where the files of a registered data set are: on disk or to download."""

import dataclasses
import os
from pathlib import Path

from ulmfit_tf.data.download import check_sha256, default_cache_dir, download
from ulmfit_tf.data.errors import DataError


@dataclasses.dataclass(frozen=True)
class Layout:
    """One way in which a source's files may lie on disk.

    Args:
        files: Names of files or folders that lie beside each other, or
            glob patterns of them.
        partial: What is missing from the official release in this layout,
            or `None` if it is complete.
    """

    files: tuple[str, ...]
    partial: str | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """The official files of a registered data set or corpus.

    Args:
        name: The registered name.
        folders: Folders below a data folder that the files may lie in;
            they may also lie in the data folder itself.
        layouts: The ways the files may lie there, the best one first.
        addresses: What to download, into the cache's folder `folders[0]`.
            Empty if there is no official address.
        sha256: Known hashes by file name. A file that is not listed has
            no hash known to this project; its format is checked.
    """

    name: str
    folders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    addresses: tuple[str, ...] = ()
    sha256: dict[str, str] = dataclasses.field(default_factory=dict)


def resolve(
    source: Source,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    advice: str = "",
) -> tuple[Layout, list[Path]]:
    """Finds the files of a source, or downloads them into the cache.

    They are looked for in `data_dir`, then `$ULMFIT_TF_DATA`, then the
    cache. Hashes are checked where they are known.

    Args:
        source: What to find.
        data_dir: Folder with data, or `None`.
        cache_dir: Cache folder; `None` for the user's.
        advice: What a user without network can do instead.

    Returns:
        The layout found and the paths of its files.

    Raises:
        DataError: If `data_dir` does not exist, a file is not the official
            one, or nothing was found and nothing could be downloaded.
    """
    cache = Path(cache_dir) if cache_dir else default_cache_dir()
    roots = [*data_roots(data_dir), cache]
    found = _find(source, roots)
    if found is None and source.addresses:
        _download(source, cache, advice)
        found = _find(source, [cache])
    if found is None:
        raise DataError(
            f"The files of `{source.name}` were not found in "
            f"{_quoted(roots)}, and there is no address to download them "
            f"from. Expected: {_alternatives(source)}. Put them into "
            f"`DIR/{source.folders[0]}/` and pass `--data-dir DIR`.{advice}"
        )
    for path in found[1]:
        if path.name in source.sha256:
            check_sha256(path, source.sha256[path.name])
    return found


def data_roots(data_dir: str | Path | None) -> list[Path]:
    """Returns `data_dir` and `$ULMFIT_TF_DATA`, as far as they are given.

    Raises:
        DataError: If `data_dir` is given and is not a folder.
    """
    roots = []
    if data_dir is not None:
        try:
            roots.append(Path(data_dir).expanduser())
            exists = roots[0].is_dir()
        except (OSError, RuntimeError):
            # Of an unknown user's home, or with a name that is too long.
            exists = False
        if not exists:
            raise DataError(
                f"The data folder `{data_dir}` does not exist. Expected an "
                "existing folder. Check `--data-dir`, or leave it out to "
                "have data downloaded."
            )
    if os.environ.get("ULMFIT_TF_DATA"):
        roots.append(Path(os.environ["ULMFIT_TF_DATA"]))
    return roots


def _find(source, roots):
    for root in roots:
        for layout in source.layouts:
            for folder in (*(root / name for name in source.folders), root):
                matches = [sorted(folder.glob(f)) for f in layout.files]
                if all(matches):
                    return layout, [path for some in matches for path in some]
    return None


def _download(source, cache, advice):
    folder = cache / source.folders[0]
    for address in source.addresses:
        name = address.rsplit("/", 1)[1]
        if (folder / name).exists():
            continue
        try:
            download(address, folder / name, source.sha256.get(name))
        except OSError as error:
            raise DataError(
                f"The files of `{source.name}` are not on this machine and "
                f"could not be downloaded: {error}. To use it without "
                "network, fetch "
                f"{' and '.join(f'`{a}`' for a in source.addresses)} "
                f"elsewhere, put the files into `DIR/{source.folders[0]}/` "
                "and pass `--data-dir DIR` (or set ULMFIT_TF_DATA=DIR, or put "
                f"them into `{folder}`).{advice}"
            ) from error


def _alternatives(source):
    return ", or ".join(" and ".join(each.files) for each in source.layouts)


def _quoted(paths):
    return ", ".join(f"`{path}`" for path in paths)
