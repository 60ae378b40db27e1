"""Many adapters in one server: places, eviction by use and by memory, kinds and sizes side by side."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from modelhub import artifacts
from modelhub.ml import features
from modelhub.ml.adapters.stored import AdapterFile, read_adapter
from modelhub.serving.errors import ModelRefused, OutOfMemory
from modelhub.serving.memory import Room
from modelhub.serving.runners import adapters as bank_module
from modelhub.serving.runners.adapters import Adapters
from modelhub.serving.runtime import How
from tests.modelhub.adapters.small import batch, encoder, learned, write


def stored(method: str, blocks: int, seed: int) -> AdapterFile:
    return AdapterFile(method, blocks, learned(method, blocks, seed).arrays())


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def body(home):
    return write(encoder(), home / "body.onnx", form="moe")  # float32, where answers can be compared to 1e-5


def manifest_of(body) -> dict:
    return {"id": "small", "files": {"body": {"sha256": artifacts.digest(body)}}, "requires": {}}


@pytest.fixture
def bank(body):
    return Adapters(body, manifest_of(body), How(model="small"))


def keep(home, name: str, stored_one: AdapterFile, **told) -> None:
    folder = home / "artifacts" / "small" / "heads" / name
    folder.mkdir(parents=True)
    save_file(stored_one.arrays, str(folder / "adapter.safetensors"))
    manifest = {"id": name, "kind": "text-head", "head": name.partition("@")[0],
                "body_sha256": artifacts.digest(home / "body.onnx"),
                "adapter": {"method": stored_one.method, "blocks": stored_one.blocks}}  # fmt: skip
    artifacts.write_manifest(folder, manifest | told, {"adapter": "adapter.safetensors"})


def ask(bank, places, rows=None):
    embedded, mask = batch(len(places))
    feed = {"embedded": embedded, "attention_mask": mask}
    if rows is not None:
        feed = {name: value[rows] for name, value in feed.items()}
        places = [places[row] for row in rows]
    return bank.features(["features"], feed, places)[0]


def test_adapters_of_other_kinds_and_sizes_answer_beside_each_other(bank, body):
    places = [
        bank.put("a@1", stored("lora", 1, 1)),
        bank.put("b@1", stored("expert", 2, 2)),
        bank.put("c@1", stored("lora", 2, 3)),
    ]
    rows = [0, *places, 0, places[0]]
    mixed = ask(bank, rows)
    for row, place in enumerate(rows):
        if place:
            assert np.abs(ask(bank, rows, [row]) - mixed[row]).max() < 1e-5
    embedded, mask = batch(len(rows))
    plain = features.open_session(body).run(["features"], {"embedded": embedded, "attention_mask": mask})[0]
    assert np.abs(mixed[[0, 4]] - plain[[0, 4]]).max() < 1e-5
    assert all(np.abs(mixed[row] - plain[row]).max() > 0.01 for row in (1, 2, 3, 5))


def test_another_in_the_same_place_leaves_nothing_of_the_one_before(bank, body):
    (place,) = {bank.put("a@1", stored("lora", 2, 1))}
    before = ask(bank, [place] * 3)
    assert bank.put("a@1", stored("lora", 1, 5)) == place
    after = ask(bank, [place] * 3)
    alone = Adapters(body, manifest_of(body), How(model="small"))
    assert np.abs(after - ask(alone, [alone.put("a@1", stored("lora", 1, 5))] * 3)).max() < 1e-5
    assert np.abs(after - before).max() > 0.01


def test_the_least_recently_used_leaves_and_comes_back_from_its_file(bank, home, monkeypatch):
    monkeypatch.setattr(bank_module, "MOST_PLACES", 3)
    for number in range(4):
        keep(home, f"a@{number}", stored("lora", 1, number))
    first = ask(bank, bank.places_of(["a@0", "a@1", "a@2"]))
    bank.places_of(["a@0"])
    assert len(bank.places_of(["a@3"])) == 1
    assert {one["name"] for one in bank.held()} == {"a@0", "a@2", "a@3"}
    again = ask(bank, bank.places_of(["a@0", "a@1", "a@2"]))
    assert np.abs(first - again).max() < 1e-5


def test_an_adapter_leaves_when_the_server_needs_its_memory(body, home):
    size = stored("lora", 1, 0).size
    room = Room(int(2.9 * size))
    bank = Adapters(body, manifest_of(body), How(model="small"), room=room)
    for number in range(3):
        keep(home, f"a@{number}", stored("lora", 1, number))
        bank.places_of([f"a@{number}"])
    assert "a@0" not in {one["name"] for one in bank.held()} and room.used <= room.limit
    with pytest.raises(
        ModelRefused
    ) as refused:  # three at once don't fit: nobody is answered with another's weights
        bank.places_of(["a@0", "a@1", "a@2"])
    assert refused.value.code == "out_of_memory"
    bank.close()
    assert room.used == 0
    with pytest.raises(OutOfMemory):
        Adapters(body, manifest_of(body), How(model="small"), room=Room(size // 2)).places_of(["a@0"])


def test_the_graph_beside_the_body_is_booked_and_opened_again_after_it_left(body, home):
    room = Room(10**9)
    bank = Adapters(body, manifest_of(body), How(model="small"), room=room)
    keep(home, "a@1", stored("lora", 1, 1))
    places = bank.places_of(["a@1"] * 3)
    before = ask(bank, places)
    assert room.used > body.stat().st_size
    room.make_place(
        "somebody else", room.limit - stored("lora", 1, 1).size
    )  # the least recently used leaves: all of it
    assert bank.sessions() == []
    assert np.abs(ask(bank, bank.places_of(["a@1"] * 3)) - before).max() < 1e-5
    bank.close()
    assert room.used == 0


def test_a_changed_file_is_never_answered_with(bank, home):
    keep(home, "a@1", stored("lora", 1, 1))
    path = home / "artifacts" / "small" / "heads" / "a@1" / "adapter.safetensors"
    save_file(stored("lora", 1, 2).arrays, str(path))
    with pytest.raises(artifacts.ArtifactCorrupt, match="sha256"):
        bank.places_of(["a@1"])


def test_foreign_trunk_and_foreign_workload_are_refused_by_name(bank, home):
    keep(home, "a@1", stored("lora", 1, 1), body_sha256="0" * 64)
    keep(home, "a@2", stored("lora", 1, 1), head="b")
    for name, code in (("a@1", "adapter_of_another_trunk"), ("a@2", "adapter_of_another_workload")):
        with pytest.raises(ModelRefused) as refused:
            bank.places_of([name])
        assert refused.value.code == code


def test_weights_that_are_no_numbers_or_do_not_fit_their_manifest_are_corrupt(home, tmp_path, body):
    bad = stored("lora", 1, 1)
    bad.arrays["qkv_up"][0, 0, 0] = np.nan
    keep(home, "a@1", bad)
    keep(home, "a@2", stored("lora", 1, 1), adapter={"method": "expert", "blocks": 1})
    keep(home, "a@3", stored("lora", 1, 1))
    folder = home / "artifacts" / "small" / "heads"
    (folder / "a@3" / "adapter.safetensors").write_bytes(b"no")
    for name, words in (("a@1", "no number"), ("a@2", "expert"), ("a@3", "can't be read")):
        with pytest.raises(artifacts.ArtifactCorrupt, match=words):
            read_adapter(folder / name, artifacts.load_manifest(folder / name))
