"""pass@1 counts answers whose test runs to its end, and nothing else."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from modelhub.sandbox.humaneval import (
    Problem,
    chat_completer,
    load_problems,
    measure,
    program_for,
    wilson,
)

DOUBLE = Problem(
    task_id="Test/0",
    prompt='import math\n\n\ndef double(x: int) -> int:\n    """Twice x."""\n',
    entry_point="double",
    test="def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(-1) == -2\n",
    canonical_solution="    return 2 * x\n",
)


@pytest.mark.parametrize(
    "answer",
    [
        "    return 2 * x\n",
        "    return 2 * x\n\nprint(undefined_after_the_body)\n",
        "def double(x):\n    return x + x\n",
        "Sure:\n```python\ndef double(x):\n    return int(math.copysign(2 * abs(x), x))\n```\nDone.",
    ],
)
def test_right_answers_pass_as_a_body_a_function_or_in_a_fence(answer: str):
    assert measure(lambda prompt: answer, [DOUBLE]).passed == 1


@pytest.mark.parametrize(
    "answer", ["    return x\n", "", "    return (", "def other(x):\n    return 2 * x\n"]
)
def test_wrong_answers_fail(answer: str):
    assert measure(lambda prompt: answer, [DOUBLE]).passed == 0


@pytest.mark.parametrize(
    "answer",
    [
        "    raise SystemExit(0)\n",
        "    import os; os._exit(0)\n",
        "```python\nimport sys\ndef double(x): return 0\nsys.exit(0)\n```",
    ],
)
def test_leaving_before_the_test_ends_is_no_pass(answer: str):
    result = measure(lambda prompt: answer, [DOUBLE])
    assert result.passed == 0
    assert result.outcomes["Test/0"] == "left before the test"


def test_every_shipped_problem_is_there_and_some_reference_solutions_pass():
    problems = load_problems()
    assert len(problems) == 115
    solutions = {problem.prompt: problem.canonical_solution for problem in problems}
    result = measure(solutions.__getitem__, problems[:5])
    assert (result.passed, result.n) == (5, 5)


def test_wilson_agrees_with_worked_values():
    # z = 1.959964: 0 of 115 -> z²/(n + z²); 8 of 10 -> Agresti & Coull's example 0.490 to 0.943
    assert wilson(0, 115) == pytest.approx((0.0, 3.841459 / 118.841459), abs=1e-6)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    with pytest.raises(ValueError, match="must lie in"):
        wilson(3, 2)


def test_the_proof_is_printed_after_the_test():
    lines = program_for(DOUBLE, "    return 2 * x", "abc").rstrip().splitlines()
    assert lines[-2:] == ["check(double)", "print('abc')"]


class Chat(http.server.BaseHTTPRequestHandler):
    """Answers every chat with the solution, or 401 to a wrong key."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        right = self.headers["authorization"] == "Bearer sy_test" and body["model"] == "code-assist"
        answer = {"choices": [{"message": {"content": "```python\ndef double(x):\n    return 2 * x\n```"}}]}
        data = json.dumps(answer if right else {"error": {"code": "invalid_api_key"}}).encode()
        self.send_response(200 if right else 401)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Quiet."""


def test_a_chat_server_is_measured_over_http_and_its_errors_are_told():
    server = http.server.HTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        assert measure(chat_completer(url, "sy_test", "code-assist"), [DOUBLE]).rate == 1.0
        with pytest.raises(RuntimeError, match="401.*invalid_api_key"):
            chat_completer(url, "wrong", "code-assist")("x")
    finally:
        server.shutdown()
        server.server_close()
