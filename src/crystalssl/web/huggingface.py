"""Repositories of the Hugging Face hub to a folder of their files, checked, cached, offline too.

Reads what ``huggingface_hub`` reads (``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_TOKEN``,
``HF_HUB_OFFLINE``) and keeps files where it keeps them, so each finds what the other has
downloaded. Pickles and programs are never taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from crystalssl.errors import InputError, NetworkError
from crystalssl.files import exclusive, make_folder, write_bytes, write_text
from crystalssl.web.downloads import download, git_blob_of
from crystalssl.web.requests import get, get_json

SUFFIXES = (".safetensors", ".json", ".md", ".parquet", ".csv", ".txt")
"""Endings of the files that are taken."""
LARGEST_PLAIN = 64 * 2**20
"""Bytes of the largest file that a hub lists without a SHA-256."""
MOST_FILES = 10_000
"""Files of a repository, at most."""
_TRUE = ("1", "true", "yes", "on")
_REPOSITORY = re.compile(r"[\w\-.]{1,96}/[\w\-.]{1,96}")
_REVISION = re.compile(r"[\w\-.][\w\-./]{0,200}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        path: its path there.
        size: bytes, where the hub says so.
        checksum: SHA-256 of large files, else empty.
        blob: name that git gives to its content, for the others.
    """

    path: str
    size: int | None
    checksum: str = ""
    blob: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A repository at one commit.

    Attributes:
        name: of the form ``organisation/name``.
        commit: its commit.
        kind: ``models`` or ``datasets``.
        files: those with one of the endings that are taken.
        licence: what its card says.
    """

    name: str
    commit: str
    kind: str
    files: tuple[RemoteFile, ...]
    licence: str = ""

    def url(self, file: RemoteFile) -> str:
        """Address of a file."""
        prefix = "" if self.kind == "models" else f"{self.kind}/"
        return f"{endpoint()}/{prefix}{self.name}/resolve/{self.commit}/{quote(file.path)}"


def endpoint() -> str:
    """Address of the hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def offline() -> bool:
    """Whether the network is not to be used."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in _TRUE


def home() -> Path:
    """Folder of the hub's programs on this machine."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HF_HOME") or Path(cache) / "huggingface").expanduser()


def cache_folder() -> Path:
    """Folder of what was downloaded."""
    return Path(os.environ.get("HF_HUB_CACHE") or home() / "hub").expanduser()


def secret() -> dict[str, str]:
    """Header with the user's token, if there is one."""
    token = os.environ.get("HF_TOKEN", "").strip()
    path = Path(os.environ.get("HF_TOKEN_PATH") or home() / "token")
    silent = os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").strip().lower() in _TRUE
    if not token and not silent and path.is_file():
        token = path.read_text(encoding="utf-8").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def look_up(name: str, revision: str = "main", kind: str = "models") -> Repository:
    """What a repository holds.

    Args:
        name: of the form ``organisation/name``.
        revision: branch, tag or commit.
        kind: ``models`` or ``datasets``.

    Raises:
        InputError: if it is no name or revision, or there is no such repository to be seen.
        NetworkError: if the hub cannot be reached, or is not to be.
    """
    _check_names(name, revision)
    if offline():
        raise NetworkError(f"HF_HUB_OFFLINE is set, and {name} has not been downloaded before.")
    address = f"{endpoint()}/api/{kind}/{name}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        document = get_json(address, secret())
    except NetworkError as error:
        if any(f"status {code}" in str(error) for code in (401, 403, 404)):
            raise InputError(
                f"Found no {kind[:-1]} {name!r} with revision {revision!r} at {endpoint()}, or you "
                "may not see it. Check the name; a private or gated one needs a token (HF_TOKEN)."
            ) from error
        raise
    return _repository(document, name, kind)


def snapshot(name: str, revision: str = "main", kind: str = "models") -> Path:
    """All files of a repository in a folder, downloaded where they are not there yet.

    Without network the revision that was downloaded last is taken.

    Raises:
        InputError: as :func:`look_up`.
        NetworkError: if it is not there and the hub cannot be reached, or sends another file than
            it lists.
    """
    _check_names(name, revision)
    folder = cache_folder() / f"{kind}--{name.replace('/', '--')}"
    if _COMMIT.fullmatch(revision) and _complete(folder, revision):
        return folder / "snapshots" / revision  # a commit never changes
    try:
        repository = look_up(name, revision, kind)
    except NetworkError:
        known = _known(folder, revision)
        if known is None:
            raise
        return known
    target = folder / "snapshots" / repository.commit
    make_folder(folder)
    with exclusive(folder):
        for file in repository.files:
            bring(repository, file, target / file.path)
        write_text(repository.commit, folder / ".crystalssl" / repository.commit)
        if not _COMMIT.fullmatch(revision):
            write_text(repository.commit, folder / "refs" / revision)
    return target


def bring(
    repository: Repository,
    file: RemoteFile,
    path: Path,
    advance: Callable[[int, int], None] | None = None,
) -> Path:
    """Bring one file of a repository to disk, unless it is there, and check it.

    Raises:
        NetworkError: if the hub fails, or sends another file than it lists.
    """
    url = repository.url(file)
    if file.checksum:
        return download(
            url, path, checksum=file.checksum, size=file.size, headers=secret(), advance=advance
        )
    if file.blob and path.is_file() and git_blob_of(path.read_bytes()) == file.blob:
        return path
    content = get(url, secret(), most=LARGEST_PLAIN)
    if file.blob and git_blob_of(content) != file.blob:
        raise NetworkError(f"{url} is not the file that the hub lists. Try again later.")
    return write_bytes(content, path)


def _repository(document: Any, name: str, kind: str) -> Repository:
    """A repository from the answer of the hub, every name in it checked."""
    try:
        commit = document["sha"]
        listed = document["siblings"]
        if not _COMMIT.fullmatch(commit) or len(listed) > MOST_FILES:
            raise ValueError(f"{len(listed)} files at commit {commit!r:.50}")
        files = tuple(_file(entry) for entry in listed)
        card = document.get("cardData") or {}
        licence = card.get("license") if isinstance(card, Mapping) else ""
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NetworkError(
            f"The hub describes {name} in a way that is not understood ({error!r})."
        ) from error
    kept = tuple(file for file in files if file.path.lower().endswith(SUFFIXES))
    return Repository(name=name, commit=commit, kind=kind, files=kept, licence=str(licence or ""))


def _file(entry: Mapping[str, Any]) -> RemoteFile:
    path = PurePosixPath(entry["rfilename"])
    plain = "\\" not in entry["rfilename"] and ":" not in entry["rfilename"]
    if path.is_absolute() or ".." in path.parts or not path.parts or not plain:
        raise ValueError(f"file name {entry['rfilename']!r:.100}")
    large = entry.get("lfs") or {}
    size = large.get("size", entry.get("size"))
    checksum = str(large.get("sha256") or large.get("oid") or "")
    if checksum and not re.fullmatch("[0-9a-f]{64}", checksum):
        raise ValueError(f"checksum {checksum!r:.80}")
    return RemoteFile(
        path=path.as_posix(),
        size=size if isinstance(size, int) else None,
        checksum=checksum,
        blob="" if checksum else str(entry.get("blobId") or ""),
    )


def _complete(folder: Path, commit: str) -> bool:
    """Whether all files of a commit were downloaded here."""
    return (folder / ".crystalssl" / commit).is_file() and (folder / "snapshots" / commit).is_dir()


def _known(folder: Path, revision: str) -> Path | None:
    """The folder of a revision that is on disk, also of other programs' downloads."""
    commit = revision
    ref = folder / "refs" / revision
    if ref.is_file():
        commit = ref.read_text(encoding="utf-8").strip()
    target = folder / "snapshots" / commit
    return target if _COMMIT.fullmatch(commit) and target.is_dir() else None


def _check_names(name: str, revision: str) -> None:
    if not _REPOSITORY.fullmatch(name) or ".." in name:
        raise InputError(f"Got repository {name!r}, expected organisation/name.")
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise InputError(f"Got revision {revision!r}, expected a branch, tag or commit.")


def choose(files: Sequence[RemoteFile], folder: str, suffix: str) -> list[RemoteFile]:
    """Files of one folder of a repository with an ending, in order of their names."""
    chosen = [f for f in files if f.path.startswith(f"{folder}/") and f.path.endswith(suffix)]
    return sorted(chosen, key=lambda file: file.path)
