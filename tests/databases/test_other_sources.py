"""Materials Project, matminer's files, tables on the hub: licences, keys, checksums, resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crystalssl.databases import matminer_files, registry
from crystalssl.errors import InputError, NetworkError, UnknownNameError
from crystalssl.pipeline import fetch
from crystalssl.pipeline.progress import SILENT
from crystalssl.structures.table import read_table
from crystalssl.web import requests
from databases.answers import data_set, resource, sha256, summary
from stub_server import Reply, Request, Rule, Stub, as_json


class Lines:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str, *, warning: bool = False) -> None:
        self.lines.append(text)

    step = SILENT.step


def materials_project(entries: list[Any]) -> Rule:
    def rule(request: Request) -> Reply:
        if request.headers.get("X-api-key", request.headers.get("X-Api-Key")) != "key":
            return Reply(status=401)
        skip, most = int(request.query["_skip"]), int(request.query["_limit"])
        meta = {"total_doc": len(entries)}
        return as_json({"data": entries[skip : skip + most], "meta": meta})

    return rule


@pytest.fixture
def project(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    monkeypatch.setenv("MP_API_ENDPOINT", stub.address)
    monkeypatch.setenv("MP_API_KEY", "key")
    entries = [summary(f"mp-{i}", "BY-NC" if i in (1, 2) else "BY-C", 4 + i / 10) for i in range(5)]
    entries.append(summary("mp-broken") | {"structure": {"lattice": {}, "sites": []}})
    stub.rule = materials_project(entries)
    return stub


def test_gnome_entries_stay_out_unless_wanted(project: Stub, tmp_path: Path) -> None:
    told = Lines()
    out = fetch("materials-project", "chemsys=Cs-Cl", tmp_path / "a.parquet", page=2, progress=told)
    crystals = read_table(out).crystals
    assert crystals.ids.tolist() == ["mp-0", "mp-3", "mp-4"]
    assert set(crystals.column("licence")) == {"CC-BY-4.0"}
    assert crystals.column("formation_energy_per_atom").tolist() == [-1.5] * 3
    assert any("Left out 2 entries" in line for line in told.lines)
    asked = project.requests[0]
    assert asked.query["license"] == "BY-C"
    assert asked.query["chemsys"] == "Cs-Cl"
    out = fetch("materials-project", "", tmp_path / "b.parquet", include_noncommercial=True)
    assert sorted(set(read_table(out).crystals.column("licence"))) == ["CC-BY-4.0", "CC-BY-NC-4.0"]
    assert project.requests[-1].query["license"] == "All"


def test_the_key_is_on_no_disk_and_in_no_message(project: Stub, tmp_path: Path) -> None:
    project.rule = lambda request: Reply(status=500)
    with pytest.raises(NetworkError) as caught:
        fetch("materials-project", "", tmp_path / "a.parquet")
    assert "key" not in str(caught.value).replace("mpkey", "")
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b'"key"' in content for content in written)


def test_without_a_key_the_message_says_where_to_get_one(
    project: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MP_API_KEY")
    with pytest.raises(InputError, match=r"export MP_API_KEY=.*crystalssl fetch mp "):
        fetch("materials-project", "", tmp_path / "a.parquet")
    monkeypatch.setenv("MP_API_KEY", "wrong")
    with pytest.raises(InputError, match="refuses the key"):
        fetch("materials-project", "", tmp_path / "a.parquet")


def test_a_secret_does_not_follow_a_redirect_to_another_host(stub: Stub) -> None:
    other = stub.address.replace("127.0.0.1", "localhost")

    def rule(request: Request) -> Reply:
        if request.path == "/start":
            return Reply(status=302, headers={"Location": f"{other}/end"})
        return as_json({"ok": True})

    stub.rule = rule
    requests.get(f"{stub.address}/start", {"Authorization": "Bearer me", "X-API-KEY": "me"})
    first, second = stub.requests
    assert first.headers["Authorization"] == "Bearer me"
    assert not {"authorization", "x-api-key"} & {name.lower() for name in second.headers}


@pytest.fixture
def matbench(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> tuple[Stub, bytes]:
    content = data_set(6)
    entry = {"url": f"{stub.address}/d.json.gz", "sha256": sha256(content), "entries": 6}
    monkeypatch.setattr(matminer_files, "data_sets", lambda: {"matbench_dielectric": entry})
    stub.rule = lambda request: Reply(content)
    return stub, content


def test_a_data_set_of_matbench_comes_whole(matbench: tuple[Stub, bytes], tmp_path: Path) -> None:
    crystals = read_table(fetch("matbench", "matbench_dielectric", tmp_path / "m.parquet")).crystals
    assert len(crystals) == 6
    assert crystals.column("n").tolist() == [i / 2 for i in range(6)]
    assert set(crystals.column("source_file")) == {"matbench: matbench_dielectric"}
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]


def test_a_file_that_breaks_off_is_gone_on_with(
    matbench: tuple[Stub, bytes], tmp_path: Path
) -> None:
    stub, content = matbench

    def rule(request: Request) -> Reply:
        start = int(request.headers.get("Range", "bytes=0-").partition("=")[2].rstrip("-"))
        end = min(start + 150, len(content))
        return Reply(content[start:end], 206 if start else 200, declared=len(content) - start)

    stub.rule = rule
    requests_needed = -(-len(content) // 150)
    assert 1 < requests_needed <= requests.TRIES
    assert (
        len(read_table(fetch("matbench", "matbench_dielectric", tmp_path / "m.parquet")).crystals)
        == 6
    )
    assert len(stub.requests) == requests_needed


def test_another_file_than_the_one_described_is_refused(
    matbench: tuple[Stub, bytes], tmp_path: Path
) -> None:
    matbench[0].rule = lambda request: Reply(data_set(5))
    with pytest.raises(NetworkError, match="SHA-256"):
        fetch("matbench", "matbench_dielectric", tmp_path / "m.parquet")
    with pytest.raises(UnknownNameError, match="Did you mean 'matbench_dielectric'"):
        fetch("matbench", "matbench_dielectrc", tmp_path / "m.parquet")


def shard(tmp_path: Path, names: list[str], group: int) -> bytes:
    rows = [
        {"immutable_id": n, **resource(n, 4 + i / 10)["attributes"]} for i, n in enumerate(names)
    ]
    kept = ("immutable_id", "lattice_vectors", "cartesian_site_positions", "species_at_sites")
    plain = [{k: row[k] for k in kept} | {"species": json.dumps(row["species"])} for row in rows]
    path = tmp_path / "shard"
    pq.write_table(pa.Table.from_pylist(plain), path, row_group_size=group)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.fixture
def lemat(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    monkeypatch.setenv("HF_ENDPOINT", stub.address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    files = {
        "compatible_pbe/train-0.parquet": shard(tmp_path, ["a", "b", "c"], 2),
        "compatible_pbe/train-1.parquet": shard(tmp_path, ["d"], 2),
        "other/train-0.parquet": b"",
    }
    commit = "c" * 40

    def rule(request: Request) -> Reply:
        if request.path.startswith("/api/datasets/LeMaterial/LeMat-Bulk/revision/"):
            listed = [
                {"rfilename": n, "size": len(c), "lfs": {"sha256": sha256(c), "size": len(c)}}
                for n, c in files.items()
            ]
            card = {"license": "cc-by-4.0"}
            return as_json({"sha": commit, "siblings": listed, "cardData": card})
        name = request.path.partition(f"/resolve/{commit}/")[2]
        return Reply(files[name]) if name in files else Reply(status=404)

    stub.rule = rule
    return stub


def test_tables_on_the_hub_come_row_group_by_row_group(lemat: Stub, tmp_path: Path) -> None:
    crystals = read_table(fetch("lemat-bulk", "compatible_pbe", tmp_path / "l.parquet")).crystals
    assert crystals.ids.tolist() == ["a", "b", "c", "d"]
    assert set(crystals.column("licence")) == {"cc-by-4.0"}
    assert [path.name for path in tmp_path.iterdir()] == ["l.parquet"]
    with pytest.raises(UnknownNameError, match="compatible_pbe"):
        fetch("lemat-bulk", "compatible_pb", tmp_path / "l.parquet")


def test_what_is_wanted_of_a_large_table_needs_only_its_first_files(
    lemat: Stub, tmp_path: Path
) -> None:
    out = fetch("lemat-bulk", "compatible_pbe", tmp_path / "l.parquet", limit=2)
    assert len(read_table(out).crystals) == 2
    assert not any("train-1" in request.path for request in lemat.requests)


def test_every_source_has_a_name_of_its_own_and_says_what_it_is() -> None:
    names = [source.name for source in registry.SOURCES]
    assert len(set(names)) == len(names)
    for source in registry.SOURCES:
        assert source.title and source.licence and source.query_example
        assert source.address.split("://")[0] in ("http", "https", "hf")
    for name, entry in matminer_files.data_sets().items():
        assert len(entry["sha256"]) == 64, name
        assert entry["url"].startswith("https://"), name
