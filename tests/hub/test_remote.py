"""Weights by address: a hub on the loopback, its cache, offline work, checksums, and pushing."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from crystalssl import CrystalFeaturizer
from crystalssl.errors import InputError, NetworkError
from crystalssl.features.block_choice import electrons_of, way_to_electrons
from crystalssl.hub import remote
from crystalssl.hub.weights import BUNDLED, find_run, load_cards
from crystalssl.pipeline import push
from crystalssl.web import requests
from stub_server import Reply, Request, Stub, as_json, serving
from worlds import make_crystals

COMMIT = "a" * 40


class Hub:
    """A hub with one repository, and what was pushed to it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.commit, self.pushed = files, COMMIT, dict[str, bytes]()
        self.large = ".safetensors"

    def __call__(self, request: Request) -> Reply:
        path = request.path
        if path.startswith("/api/models/org/tiny/revision/"):
            return as_json({"sha": self.commit, "siblings": list(map(self.listed, self.files))})
        if path == "/api/repos/create":
            return as_json(
                {"url": "https://huggingface.co/org/mine", "name": "org/mine", "id": "1"}
            )
        if path == "/api/validate-yaml":
            return as_json({"errors": [], "warnings": []})
        if "/preupload/" in path:
            asked = json.loads(request.body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked
            ]
            return as_json({"files": modes})
        if "/commit/" in path:
            for line in map(json.loads, request.body.splitlines()):
                if line["key"] == "file":
                    self.pushed[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            done = {
                "success": True,
                "commitUrl": f"https://huggingface.co/org/mine/commit/{COMMIT}",
                "commitOid": COMMIT,
            }
            return as_json(done | {"hookOutput": "", "pullRequestUrl": None})
        name = path.partition(f"/org/tiny/resolve/{self.commit}/")[2]
        return Reply(self.files[name]) if name in self.files else Reply(status=404)

    def listed(self, name: str) -> dict[str, object]:
        content = self.files[name]
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        entry: dict[str, object] = {"rfilename": name, "size": len(content)}
        if name.endswith(self.large):
            checksum = hashlib.sha256(content).hexdigest()
            return entry | {"lfs": {"sha256": checksum, "size": len(content)}}
        return entry | {"blobId": blob.hexdigest()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HF_TOKEN_PATH", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf home"))
    monkeypatch.setenv("CRYSTALSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "sleep", lambda seconds: None)
    remote.fetch_weights.cache_clear()
    return tmp_path / "hf home" / "hub" / "models--org--tiny"


@pytest.fixture
def stub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        run = BUNDLED / "tiny"
        files = {
            path.relative_to(run).as_posix(): path.read_bytes()
            for path in sorted(run.rglob("*"))
            if path.is_file()
        }
        server.rule = Hub({**files, "README.md": b"# tiny", "model.pkl": b"no", "run.py": b"no"})
        yield server


def again() -> None:
    """Forget what this process has downloaded."""
    remote.fetch_weights.cache_clear()


def test_weights_on_the_hub_give_the_features_of_the_bundled_ones(stub: Stub, cache: Path) -> None:
    crystals = make_crystals(3)
    here = CrystalFeaturizer.from_pretrained("tiny", device="cpu").transform(crystals)
    there = CrystalFeaturizer.from_pretrained("hf://org/tiny@main", device="cpu").transform(
        crystals
    )
    assert (here == there).all()
    assert (cache / "refs" / "main").read_text(encoding="utf-8") == COMMIT
    names = {path.name for path in (cache / "snapshots" / COMMIT).rglob("*")}
    assert "card.json" in names
    assert not names & {"model.pkl", "run.py"}, "pickles and programs were downloaded"


def test_what_is_there_is_not_downloaded_again(stub: Stub) -> None:
    find_run("hf://org/tiny")
    again()
    stub.requests.clear()
    find_run("hf://org/tiny")
    assert [request.path.split("/")[1] for request in stub.requests] == ["api"]
    again()
    stub.requests.clear()
    find_run(f"hf://org/tiny@{COMMIT}")
    assert not stub.requests, "a commit never changes"


def test_offline_takes_what_is_there_and_says_when_it_is_not(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE is set"):
        find_run("hf://org/tiny")
    assert not stub.requests
    monkeypatch.delenv("HF_HUB_OFFLINE")
    folder = find_run("hf://org/tiny")
    again()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    stub.requests.clear()
    assert find_run("hf://org/tiny") == folder
    assert not stub.requests


def test_a_hub_that_is_away_is_replaced_by_what_is_there(stub: Stub) -> None:
    folder = find_run("hf://org/tiny")
    again()
    stub.rule = lambda request: Reply(status=503)
    assert find_run("hf://org/tiny") == folder


def test_the_token_is_shown_to_the_hub_and_kept_out_of_messages(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    stub.rule = lambda request: Reply(status=401)
    with pytest.raises(InputError, match="HF_TOKEN") as caught:
        find_run("hf://org/tiny")
    assert stub.requests[0].headers["Authorization"] == "Bearer hf_secret"
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["composition/weights.safetensors", "composition/card.json"])
def test_another_file_than_the_hub_lists_is_refused(stub: Stub, cache: Path, name: str) -> None:
    hub = stub.rule
    assert isinstance(hub, Hub)
    content = hub.files[name]

    def rule(request: Request) -> Reply:
        if request.path.endswith(name):
            return Reply(content[:-1] + b"?")
        return hub(request)

    stub.rule = rule
    with pytest.raises(NetworkError, match="not the file"):
        find_run("hf://org/tiny")
    assert not (cache / "refs" / "main").exists()


@pytest.mark.parametrize(
    "name", ["../../evil.json", "/etc/evil.json", "a\\..\\evil.json", "c:/e.json"]
)
def test_a_file_name_that_leaves_the_folder_is_refused(stub: Stub, name: str) -> None:
    assert isinstance(stub.rule, Hub)
    stub.rule.files = {name: b"{}"}
    with pytest.raises(NetworkError, match="not understood"):
        find_run("hf://org/tiny")


@pytest.mark.parametrize("address", ["hf://tiny", "hf://a/b/c", "hf://org/tiny@../x", "hf://../x"])
def test_an_address_of_another_form_is_an_error_in_words(cache: Path, address: str) -> None:
    with pytest.raises(InputError, match="expected"):
        find_run(address)


def packed(tmp_path: Path) -> tuple[Path, str]:
    push("tiny", tmp_path / "run.zip")
    path = tmp_path / "run.zip"
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_at_a_plain_address_need_their_checksum(stub: Stub, tmp_path: Path) -> None:
    path, checksum = packed(tmp_path)
    content = path.read_bytes()
    stub.rule = lambda request: Reply(content)
    url = f"{stub.address}/run.zip"
    folder = find_run(f"{url}#sha256={checksum}")
    assert list(load_cards(folder)) == list(load_cards("tiny"))
    again()
    stub.requests.clear()
    assert find_run(f"{url}#sha256={checksum}") == folder
    assert not stub.requests
    with pytest.raises(InputError, match="need a checksum"):
        find_run(url)
    with pytest.raises(NetworkError, match="SHA-256"):
        find_run(f"{url}#sha256={'0' * 64}")


def test_an_archive_that_leaves_its_folder_is_refused(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.json", "{}")
    content = path.read_bytes()
    stub.rule = lambda request: Reply(content)
    with pytest.raises(InputError, match="outside it"):
        find_run(f"{stub.address}/bad.zip#sha256={hashlib.sha256(content).hexdigest()}")
    assert not list(tmp_path.rglob("evil.json"))


def test_a_pushed_folder_is_a_run_with_a_readme_that_says_what_the_cards_say(
    tmp_path: Path,
) -> None:
    folder = Path(push("tiny", tmp_path / "new run"))
    text = (folder / "README.md").read_text(encoding="utf-8")
    front, _, page = text.removeprefix("---\n").partition("\n---\n")
    assert 'license: "mit"' in front
    assert 'library_name: "crystalssl"' in front
    cards = load_cards(folder)
    for name, card in cards.items():
        assert f"| {name} |" in page
        assert all(figure.task in page for figure in card.figures)
    assert list(cards) == list(load_cards("tiny"))
    with pytest.raises(InputError, match="not empty"):
        push("tiny", folder)


def test_a_pushed_run_still_says_where_its_electrons_come_from(tmp_path: Path) -> None:
    run = Path(push("tiny", tmp_path / "run"))
    assert electrons_of(push(run, tmp_path / "silent")) is None
    (run / "config.json").write_text('{"electrons_from": "exact", "seed": 0}')
    shared = push(run, tmp_path / "shared")
    assert electrons_of(shared) == "exact" == way_to_electrons("auto", "auto", shared)
    assert (Path(shared) / "config.json").read_text().split() == [
        "{",
        '"electrons_from":',
        '"exact"',
        "}",
    ]


def test_the_same_run_packs_to_the_same_bytes(tmp_path: Path) -> None:
    first = packed(tmp_path)[1]
    shutil.move(tmp_path / "run.zip", tmp_path / "old.zip")
    assert packed(tmp_path)[1] == first


def test_a_push_puts_all_files_on_the_hub(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(InputError, match="export HF_TOKEN"):
        push("tiny", "hf://org/mine")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert push("tiny", "hf://org/mine") == "hf://org/mine"
    assert isinstance(stub.rule, Hub)
    local = Path(push("tiny", tmp_path / "local"))
    expected = {p.relative_to(local).as_posix() for p in local.rglob("*") if p.is_file()}
    assert set(stub.rule.pushed) == expected
    name = "composition/weights.safetensors"
    assert stub.rule.pushed[name] == (local / name).read_bytes()
    assert b'from_pretrained("hf://org/mine")' in stub.rule.pushed["README.md"]
