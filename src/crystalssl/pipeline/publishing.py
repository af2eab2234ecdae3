"""A run to a repository of the Hugging Face hub, a folder or a .zip that others can load.

Takes weights, cards, lists of seen crystals, bottlenecks and student, all checked, and a README
made from the cards; logs and checkpoints stay. ``hub.remote`` is the way back.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from crystalssl.errors import InputError, NetworkError, require
from crystalssl.files import atomic, sha256, write_text
from crystalssl.pipeline.outputs import check_folder
from crystalssl.pipeline.progress import SILENT, Progress

README = "README.md"
FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""Date of every file in an archive, so that the same run gives the same bytes."""


def push(
    weights: str | Path,
    target: str | Path,
    *,
    private: bool = False,
    progress: Progress = SILENT,
) -> str:
    """Share trained weights: on the hub, in a folder, or as a .zip for any web server.

    Args:
        weights: folder of a run, or the name of bundled weights.
        target: ``hf://organisation/name`` (needs a token, ``HF_TOKEN``), a folder, or a ``.zip``.
        private: whether the repository, where it is made, is for its owner alone.
        progress: told what is done.

    Returns:
        What ``from_pretrained`` takes: the address, or the path.

    Raises:
        InputError: if the run is damaged, or the target cannot be written.
        NetworkError: if the hub refuses or cannot be reached.
        MissingExtraError: if ``huggingface_hub`` is needed and not installed.
    """
    from crystalssl.hub.remote import HUB

    if match := HUB.match(str(target)):
        if match["revision"]:
            raise InputError("A push goes to the main branch; give hf://organisation/name alone.")
        require("huggingface_hub", "hub", "Pushing to the hub")
        with tempfile.TemporaryDirectory() as name:
            folder = _write(weights, Path(name), match["name"])
            with progress.step("Uploading"):
                address = _upload(folder, match["name"], private)
        progress.note(f"Pushed: {address}")
        return address
    path = Path(target)
    if path.suffix.lower() != ".zip":
        if path.exists() and any(path.iterdir()):
            raise InputError(f"{path} is not empty. Give the name of a new folder.")
        _write(weights, check_folder(path), "")
        progress.note(f"Weights to share: {path}")
        return str(path)
    with tempfile.TemporaryDirectory() as name:
        _pack(_write(weights, Path(name), ""), path)
    progress.note(
        f"Weights to share: {path}\nLoad them with https://.../{path.name}#sha256={sha256(path)}"
    )
    return str(path)


def _write(weights: str | Path, folder: Path, place: str) -> Path:
    """What is shared of a run, and its README."""
    from crystalssl.features.bottleneck import find_bottlenecks
    from crystalssl.hub.readme import PLACE, readme
    from crystalssl.hub.weights import load_cards
    from crystalssl.properties.property_model import copy_encoders

    copy_encoders(weights, folder)
    text = readme(load_cards(folder), list(find_bottlenecks(folder)), place or PLACE)
    write_text(text, folder / README)
    return folder


def _pack(folder: Path, path: Path) -> None:
    """A folder as an archive; the same folder gives the same bytes."""
    with atomic(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(file.relative_to(folder).as_posix(), FIRST_DATE)
            archive.writestr(info, file.read_bytes())


def _upload(folder: Path, name: str, private: bool) -> str:
    """Make the repository where it is missing and put the files there in one commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from crystalssl.web.huggingface import endpoint, offline, secret

    if offline():
        raise NetworkError("HF_HUB_OFFLINE is set; unset it to push.")
    token = secret().get("Authorization", "").removeprefix("Bearer ")
    if not token:
        raise InputError(
            f"{endpoint()} takes files from those with a token. Make one that may write, and set "
            "it: export HF_TOKEN=..."
        )
    api = HfApi(endpoint=endpoint(), token=token, library_name="crystalssl")
    try:
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=name, commit_message="Weights of crystalssl")
    except HfHubHTTPError as error:
        raise NetworkError(
            f"{endpoint()} does not take {name}: {error}. Check the name, and that the token may "
            "write there."
        ) from error
    except OSError as error:
        raise NetworkError(f"No answer from {endpoint()} ({error}). Check the network.") from error
    return f"hf://{name}"
