import onnxruntime
import pytest

from modelhub.hal import device


@pytest.fixture(autouse=True)
def asked_anew():
    device.best_device.cache_clear()
    yield
    device.best_device.cache_clear()


def test_a_provider_that_is_listed_but_cannot_run_is_not_the_device(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [device.CUDA, device.CPU])
    if (
        device.CUDA
        in onnxruntime.InferenceSession(
            device._smallest_graph(), providers=[device.CUDA, device.CPU]
        ).get_providers()
    ):
        pytest.skip("this machine has a CUDA device")
    found = device.best_device()
    assert (found.torch, found.providers) == ("cpu", (device.CPU,))


def test_a_session_that_says_cuda_makes_it_the_device(monkeypatch):
    class Session:
        def __init__(self, model, providers):
            self.providers = providers

        def get_providers(self):
            return self.providers

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [device.CUDA, device.CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    found = device.best_device()
    assert (found.torch, found.providers) == ("cuda", (device.CUDA, device.CPU))
    assert found.name


def test_the_smallest_graph_runs_here():
    session = onnxruntime.InferenceSession(device._smallest_graph(), providers=[device.CPU])
    assert session.run(None, {"x": [3.0]})[0].tolist() == [3.0]
