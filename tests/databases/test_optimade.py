"""OPTIMADE providers: pages, faults of servers, hostile answers, a fetch that goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from crystalssl.cli import app
from crystalssl.errors import InputError, NetworkError, UnknownNameError
from crystalssl.pipeline import fetch
from crystalssl.structures.table import read_table
from crystalssl.web import requests
from databases.answers import Provider, resource
from stub_server import Reply, Request, Stub, as_json


def provider(stub: Stub, entries: list[Any], page: int = 2) -> Provider:
    stub.rule = made = Provider(stub.address, entries, page)
    return made


def five(stub: Stub) -> Provider:
    return provider(stub, [resource(f"s{i}", 4 + i / 10) for i in range(5)])


def test_all_pages_come_in_order_with_licence_query_and_date(stub: Stub, tmp_path: Path) -> None:
    five(stub)
    out = tmp_path / "s.parquet"
    fetch(f"{stub.address}/optimade", 'elements HAS "Cs"', out, fields=["_stub_band_gap"])
    crystals = read_table(out).crystals
    assert crystals.ids.tolist() == [f"s{i}" for i in range(5)]
    assert crystals.columns is not None
    assert set(crystals.columns["licence"].to_pylist()) == {"https://example.org/cc-by"}
    assert crystals.column("_stub_band_gap").tolist() == pytest.approx(
        [0.4, 0.41, 0.42, 0.43, 0.44]
    )
    told = json.loads(pq.read_schema(out).metadata[b"crystalssl_fetch"])
    assert told["query"] == 'elements HAS "Cs"'
    assert told["address"] == f"{stub.address}/optimade"
    assert told["retrieved"].startswith("20")
    first = stub.asked("/optimade/v1/structures")[0]
    assert first.query["filter"] == 'elements HAS "Cs"'
    assert "_stub_band_gap" in first.query["response_fields"]
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


def test_disorder_keeps_its_fractions_beside_pages_without(stub: Stub, tmp_path: Path) -> None:
    mixed = resource("mixed", species_at_sites=["A", "Cl"])
    mixed["attributes"]["species"][0] = {
        "name": "A", "chemical_symbols": ["Cs", "Rb"], "concentration": [0.75, 0.25]
    }  # fmt: skip
    provider(stub, [resource("plain"), mixed], page=1)
    crystals = read_table(fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")).crystals
    assert crystals[0].species[0] == {"Cs": 1.0}
    assert crystals[1].species[0] == {"Cs": 0.75, "Rb": 0.25}


BAD = [
    ({"structure_features": ["unknown_positions"]}, "positions of some"),
    ({"structure_features": ["assemblies"]}, "correlated"),
    ({"nperiodic_dimensions": 2}, "periodic in 2"),
    ({"cartesian_site_positions": None}, "no positions"),
    ({"lattice_vectors": [[4, 0, 0], [0, None, 0], [0, 0, 4]]}, "cell"),
    ({"lattice_vectors": {"a": 1}}, "lacks a part"),
    ({"species_at_sites": ["Cs", "Xx"]}, "species"),
    ({"cartesian_site_positions": [[0, 0, 0], [1e300, 0, float("nan")]]}, "coordinate"),
]


def test_an_entry_that_cannot_be_used_is_listed_and_the_others_come(
    stub: Stub, tmp_path: Path
) -> None:
    bad = [resource(f"bad{i}", **changed) for i, (changed, _) in enumerate(BAD)]
    provider(stub, [*bad, None, 7, {"id": {"a": 1}}, {"id": "none"}, resource("good")], page=4)
    out = tmp_path / "s.parquet"
    fetch(f"{stub.address}/optimade", "", out)
    assert read_table(out).crystals.ids.tolist() == ["good"]
    lines = (tmp_path / "s.parquet.skipped.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(BAD) + 4
    told = {line.partition(",")[0]: line for line in lines}
    for i, (_, reason) in enumerate(BAD):
        assert reason in told[f"bad{i}"]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_is_busy_is_asked_again(
    stub: Stub, tmp_path: Path, waits: list[float], status: int
) -> None:
    five(stub).before = [
        Reply(status=status, headers={"Retry-After": "7"}),
        None,
        Reply(status=status),
    ]
    out = fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")
    assert len(read_table(out).crystals) == 5
    assert 7.0 in waits


def test_a_page_that_breaks_off_or_is_no_json_is_asked_for_again(
    stub: Stub, tmp_path: Path
) -> None:
    five(stub).before = [
        Reply(b'{"data": [', declared=5000),
        Reply(b'{"data": [{"id": "s0", '),
        Reply(b'{"data": {"id": "s0"}}'),
        Reply(b"[" * 100_000),
    ]
    out = fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")
    assert len(read_table(out).crystals) == 5


def test_a_fetch_that_failed_goes_on_and_gives_the_same_table(stub: Stub, tmp_path: Path) -> None:
    made = five(stub)
    whole = fetch(f"{stub.address}/optimade", "", tmp_path / "whole.parquet")
    made.before = [None, *[Reply(status=500)] * requests.TRIES]
    out = tmp_path / "s.parquet"
    with pytest.raises(NetworkError, match="2 structures so far are kept; the same command"):
        fetch(f"{stub.address}/optimade", "", out)
    assert not out.exists()
    stub.requests.clear()
    fetch(f"{stub.address}/optimade", "", out)
    asked = [request.query.get("page_offset") for request in stub.asked("/optimade/v1/structures")]
    assert asked == ["2", "4"]
    assert pq.read_table(out).equals(pq.read_table(whole))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.parquet", "whole.parquet"]


def test_another_question_begins_anew(stub: Stub, tmp_path: Path) -> None:
    made = five(stub)
    made.before = [None, *[Reply(status=500)] * requests.TRIES]
    out = tmp_path / "s.parquet"
    with pytest.raises(NetworkError):
        fetch(f"{stub.address}/optimade", "", out)
    fetch(f"{stub.address}/optimade", 'elements HAS "Cs"', out)
    assert len(read_table(out).crystals) == 5


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_fetch_that_was_killed_goes_on_to_the_same_bytes(stub: Stub, tmp_path: Path) -> None:
    made = five(stub)
    code = "import sys; from crystalssl.pipeline import fetch; fetch(*sys.argv[1:])"
    out = tmp_path / "s.parquet"
    process: list[subprocess.Popen[bytes]] = []

    def rule(request: Request) -> Reply:
        if request.query.get("page_offset") == "4":
            os.kill(process[0].pid, signal.SIGKILL)
        return made(request)

    stub.rule = rule
    words = [sys.executable, "-c", code, f"{stub.address}/optimade", "", str(out)]
    process.append(subprocess.Popen(words))
    assert process[0].wait(60) == -signal.SIGKILL
    stub.rule = made
    fetch(f"{stub.address}/optimade", "", out)
    assert read_table(out).crystals.ids.tolist() == [f"s{i}" for i in range(5)]
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


def test_an_entry_that_moves_to_the_next_page_is_kept_once(stub: Stub, tmp_path: Path) -> None:
    provider(stub, [resource(name) for name in ("a", "b", "b", "c")])
    out = fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")
    assert read_table(out).crystals.ids.tolist() == ["a", "b", "c"]


def test_no_more_is_asked_than_wanted(stub: Stub, tmp_path: Path) -> None:
    five(stub)
    out = fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet", limit=3)
    assert len(read_table(out).crystals) == 3
    assert len(stub.asked("/optimade/v1/structures")) == 2


@pytest.mark.parametrize(
    ("following", "reason"),
    [
        ("http://elsewhere.example/v1/structures", "another host"),
        ("file:///etc/passwd", "another host"),
        (["x"], "names no address"),
        ("SAME", "in a circle"),
    ],
)
def test_a_next_page_that_leads_astray_is_not_followed(
    stub: Stub, tmp_path: Path, following: Any, reason: str
) -> None:
    here = f"{stub.address}/optimade/v1/structures?page_offset=0"

    def rule(request: Request) -> Reply:
        to = here if following == "SAME" else following
        return as_json({"data": [resource("a")], "links": {"next": to}})

    stub.rule = rule
    with pytest.raises(NetworkError, match=reason):
        fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")


def test_a_redirect_to_a_file_is_not_followed(stub: Stub, tmp_path: Path) -> None:
    stub.rule = lambda request: Reply(status=302, headers={"Location": "file:///etc/passwd"})
    with pytest.raises(NetworkError):
        fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")


def test_an_answer_without_end_is_refused(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crystalssl.databases.optimade.MOST_BYTES", 1000)
    five(stub)
    with pytest.raises(NetworkError, match="more than 1,000 bytes"):
        fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")


def test_a_filter_that_is_not_understood_is_named(stub: Stub, tmp_path: Path) -> None:
    stub.rule = lambda request: as_json({"errors": [{"detail": "bad filter"}]}, status=400)
    with pytest.raises(InputError, match=r"does not understand the filter 'nonsense'.*bad filter"):
        fetch(f"{stub.address}/optimade", "nonsense", tmp_path / "s.parquet")


def test_entries_for_research_alone_come_only_when_wanted(stub: Stub, tmp_path: Path) -> None:
    five(stub).info = {"available_licenses_for_entries": ["CC-BY-NC-4.0"]}
    with pytest.raises(InputError, match="--include-noncommercial"):
        fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")
    out = fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet", include_noncommercial=True)
    assert len(read_table(out).crystals) == 5


def test_without_network_the_command_says_what_to_look_at(tmp_path: Path) -> None:
    words = ["fetch", "http://127.0.0.1:9/optimade", "-o", str(tmp_path / "s.parquet")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "No answer from http://127.0.0.1:9" in result.stderr
    assert "proxy" in result.stderr


def test_an_unknown_source_brings_the_closest_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'jarvis'"):
        fetch("jarviss", "", tmp_path / "s.parquet")


def test_a_query_without_entries_is_an_error_in_words(stub: Stub, tmp_path: Path) -> None:
    provider(stub, [])
    with pytest.raises(InputError, match="no entries for this query"):
        fetch(f"{stub.address}/optimade", "", tmp_path / "s.parquet")
    assert not (tmp_path / "s.parquet").exists()
