"""Data sets on the Hugging Face hub: the data files of one folder of a repository are downloaded once.

``ORG/NAME`` or ``ORG/NAME/FOLDER``, as in ``autogluon/chronos_datasets/m4_daily``. A repository with several folders of
data holds several data sets, and one must be named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from potstill.errors import UserError

_NAMED = 8  # folders that a message lists
_METADATA = ("state.json", "dataset_info.json", "dataset_dict.json")


def hub_folder(entry: str, endings: Sequence[str]) -> Path:
    """The local copy of a data set on the hub.

    Raises
    ------
    UserError
        The hub has no such data set or cannot be reached, or the repository has several of them.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

    parts = entry.split("/")
    repository, inside = "/".join(parts[:2]), "/".join(parts[2:])
    try:
        files = HfApi().list_repo_files(repository, repo_type="dataset")
        patterns = _patterns(entry, inside, files, endings)
    except RepositoryNotFoundError:
        raise UserError(
            f"{entry}: no such file or directory, and no data set of this name on the hub; check --data.",
            key="data.no_such_file",
        ) from None
    except (OSError, OfflineModeIsEnabled):  # no connection: an earlier copy will do
        patterns = [f"{inside}/*" if inside else "*"]
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpcore", "requests"):
            raise
        patterns = [f"{inside}/*" if inside else "*"]
    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", allow_patterns=patterns))
    except (OSError, LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise UserError(
            f"{entry}: no such file or directory, and the hub cannot be reached; check --data.",
            key="data.no_such_file",
        ) from None
    return folder / inside


def _patterns(entry: str, inside: str, files: Sequence[str], endings: Sequence[str]) -> list[str]:
    """The files to download: the data files in the folder, and what ``save_to_disk`` writes next to them."""
    within = [file for file in files if file.startswith(f"{inside}/" if inside else "")]
    data = [file for file in within if file.lower().endswith(tuple(endings))]
    folders = sorted({PurePosixPath(file).parent.as_posix() for file in data})
    if not data:
        raise UserError(
            f"{entry}: this data set on the hub has no {', '.join(endings)} files there; name a folder with data.",
            key="data.no_data_files",
        )
    if len(folders) > 1 and not inside:
        listed = ", ".join(folders[:_NAMED]) + (f" and {len(folders) - _NAMED} more" if len(folders) > _NAMED else "")
        raise UserError(
            f"{entry}: this repository has several data sets; name one, such as {entry}/{folders[0]} ({listed}).",
            key="data.several_on_hub",
        )
    return [*data, *(file for file in within if PurePosixPath(file).name in _METADATA)]
