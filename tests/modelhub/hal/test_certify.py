"""The supplier's report: what it says of devices that are whole, partial, misbehaving or absent, and that it can't be altered."""

import copy
import json
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from modelhub.hal import certify, report_html, signature
from modelhub.hal.autotune import Autotuner
from modelhub.hal.backends.ort_cpu import OnnxRuntime
from modelhub.hal.backends.ort_devices import backends as provider_backends
from modelhub.hal.operators import OPERATORS
from modelhub.hal.profile import cpu_profile
from modelhub.hal.registry import Registry
from modelhub.hal.tune_cache import TuneCache
from modelhub.management.hal import certify as command
from modelhub.ml.graph import GraphBuilder
from tests.fakes.devices import FakeDevice, LyingDevice

PROFILE = cpu_profile(threads=1)


def subject(tmp_path, device, challenge="spring tender"):
    registry = Registry()
    registry.add(device)
    registry.add(OnnxRuntime())
    tuner = Autotuner(registry, PROFILE, TuneCache.for_device(PROFILE, tmp_path), budget_s=0.001)
    return certify.Subject(device.name, challenge, registry, PROFILE, tuner)


def status(body):
    return {row["operator"]: row["status"] for row in body["operators"]}


def test_a_device_with_one_operator_is_partial_and_the_rest_is_missing_with_who_would_take_it(tmp_path):
    body = certify.certify(subject(tmp_path, FakeDevice(operators=("matmul",))))
    assert status(body) == {name: "native" if name == "matmul" else "missing" for name in OPERATORS}
    assert body["summary"] == {
        "verdict": "partial", "operators": {"native": 1, "fallback": 0, "refused": 0, "missing": 6, "not run": 0},
    }  # fmt: skip
    (row,) = [row for row in body["operators"] if row["operator"] == "matmul"]
    assert row["error"] < 1e-6 and [speed["dims"]["M"] for speed in row["speed"]] == [1, 64, 1024]
    assert all(speed["ms"] > 0 and speed["gflop_s"] > 0 for speed in row["speed"])
    assert "onnxruntime" in next(row["why"] for row in body["operators"] if row["operator"] == "ffn_gelu")


def test_a_lying_device_is_refused_in_its_own_report(tmp_path):
    body = certify.certify(subject(tmp_path, LyingDevice("liar", operators=("matmul",))))
    assert status(body)["matmul"] == "refused"
    assert body["summary"]["verdict"] == "partial"


def test_a_device_that_is_not_here_has_nothing_run(tmp_path):
    cann = next(each for each in provider_backends() if each.name == "cann")
    if cann.presence().present:
        pytest.skip("this machine has an Ascend device")
    body = certify.certify(subject(tmp_path, cann))
    assert set(status(body).values()) == {"not run"} and body["model"] == []
    assert body["summary"]["verdict"] == "not present"


def test_the_challenge_decides_the_vectors(tmp_path):
    device = FakeDevice()
    first, again, other = (subject(tmp_path, device, word).seed for word in ("a", "a", "b"))
    assert first == again != other


def test_an_unknown_backend_is_named_with_those_that_are_known(tmp_path):
    made = subject(tmp_path, FakeDevice())
    with pytest.raises(certify.NoSuchBackend, match="honest, onnxruntime"):
        certify.certify(certify.Subject("abacus", "x", made.registry, PROFILE, made.tuner))


def test_a_model_runs_on_the_device_and_in_emulated_formats(tmp_path):
    g = GraphBuilder("two-products")
    rng = np.random.default_rng(0)
    x = g.input("x", "float", ["N", 16])
    inner = g.op("Relu", g.op("MatMul", x, g.const(rng.standard_normal((16, 32)).astype(np.float32))))
    g.output(
        "y",
        g.op("MatMul", inner, g.const(rng.standard_normal((32, 8)).astype(np.float32))),
        "float",
        ["N", 8],
    )
    g.save(tmp_path / "model.onnx")
    made = subject(tmp_path, FakeDevice(operators=()))
    rows = certify._model_rows(
        certify.Subject("onnxruntime", "x", made.registry, PROFILE, made.tuner), tmp_path / "model.onnx"
    )
    assert [(row["name"], row["emulated"]) for row in rows] == [
        ("onnxruntime", False), ("emulated tf32", True), ("emulated float16", True), ("emulated bfloat16", True),
    ]  # fmt: skip
    assert all(row["passed"] for row in rows)
    assert rows[0]["error"] == 0.0 < rows[1]["error"] < rows[3]["error"] < 0.02


def test_a_signed_report_is_whole_and_any_change_is_found():
    key = bytes(range(32))
    signed = signature.sign({"verdict": "partial", "ms": 1.5}, key)
    signer = signature.verify(signed)
    assert signature.verify(json.loads(json.dumps(signed)), trusted=signer.upper()) == signer
    for change in ({"verdict": "complete"}, {"ms": 1.4999}, {"more": 1}):
        altered = copy.deepcopy(signed)
        altered["body"].update(change)
        with pytest.raises(signature.SignatureWrong, match="changed after"):
            signature.verify(altered)


def test_a_report_of_another_signer_is_not_the_trusted_one():
    mine, theirs = (signature.sign({"verdict": "complete"}, bytes([n]) * 32) for n in (1, 2))
    trusted = signature.verify(mine)
    with pytest.raises(signature.SignatureWrong, match="expected"):
        signature.verify(theirs, trusted)
    swapped = {"body": mine["body"], "signature": theirs["signature"] | {"value": mine["signature"]["value"]}}
    with pytest.raises(signature.SignatureWrong):
        signature.verify(swapped)


@pytest.mark.parametrize(
    "broken",
    [{}, {"body": {}}, {"body": {}, "signature": {"algorithm": "none"}}, [], {"body": {}, "signature": 1}],
)
def test_what_is_no_signed_report_is_refused(broken):
    with pytest.raises(signature.SignatureWrong):
        signature.verify(broken)


def test_a_number_that_json_cannot_hold_is_not_signed():
    with pytest.raises(ValueError, match="JSON"):
        signature.sign({"ms": float("nan")}, bytes(32))


def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "hal" / "certify.key"
    first = signature.own_key(path)
    assert signature.own_key(path) == first and path.stat().st_mode & 0o077 == 0


def test_the_page_escapes_what_a_device_says_of_itself(tmp_path):
    device = FakeDevice("x", operators=("matmul",))
    device.presence = lambda: type(FakeDevice().presence())(True, "<script>alert(1)</script>", "1")
    page = report_html.render(certify.certify(subject(tmp_path, device)))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "partial" in page and "missing" in page


@pytest.fixture
def report(tmp_path, monkeypatch):
    made = subject(tmp_path, FakeDevice("gadget", operators=("matmul",)))
    library = type("Library", (), {"registry": made.registry, "profile": PROFILE, "tuner": made.tuner})
    monkeypatch.setattr(command.tuning, "library", lambda: library)
    monkeypatch.setattr(command.ceilings, "measure", lambda registry, profile: profile)
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    call_command("hal", "certify", "--backend", "gadget", "--challenge", "spring tender", "--model", "", "--out", str(tmp_path),
                 stdout=StringIO())  # fmt: skip
    return tmp_path / "device-report-gadget.json"


def verify(report, *more):
    out = StringIO()
    call_command("hal", "certify", "--verify", str(report), *more, stdout=out)
    return out.getvalue()


def test_a_report_made_on_the_command_line_verifies_there(report):
    signer = json.loads(report.read_text())["signature"]["fingerprint"]
    assert "is whole" in verify(report, "--challenge", "spring tender", "--trust", signer)
    assert "Compare the fingerprint" in verify(report)


def test_a_report_that_answers_another_challenge_or_whose_page_was_changed_is_refused(report):
    with pytest.raises(CommandError, match="answers the challenge 'spring tender'"):
        verify(report, "--challenge", "autumn tender")
    page = report.with_suffix(".html")
    page.write_text(page.read_text().replace("partial", "complete"))
    with pytest.raises(CommandError, match="not the page that was signed"):
        verify(report)
    with pytest.raises(CommandError, match="not to be trusted"):
        verify(page)


def test_certifying_without_a_challenge_says_what_to_give():
    with pytest.raises(CommandError, match="--challenge"):
        call_command("hal", "certify", "--backend", "gadget")


def test_explain_refuses_a_letter_that_is_no_dimension():
    with pytest.raises(CommandError, match=r"'Q=3' is no dimension of matmul: expected for example M=64"):
        call_command("hal", "explain", "matmul", "Q=3")
