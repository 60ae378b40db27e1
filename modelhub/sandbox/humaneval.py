"""HumanEval, and MBPP in its form, in the sandbox: pass@1 with its interval, pass@k from several samples.

python -m modelhub.sandbox.humaneval --base-url http://127.0.0.1:8000/v1 --key sy_… --model code-assist [--set mbpp]
    [--samples 20 --temperature 0.8 --k 1,10]
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import math
import re
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelhub.sandbox.run import Limits, run_program

PROBLEMS = Path(__file__).resolve().parents[2] / "data" / "humaneval" / "dev.jsonl.gz"
FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
END_OF_BODY = re.compile(r"\n(?=[^\s#)\]}])")  # a line that starts in the first column ends the function


@dataclass(frozen=True)
class Problem:
    """One task: a signature with its docstring to complete, and a test that calls the finished function."""

    task_id: str
    prompt: str
    entry_point: str
    test: str
    canonical_solution: str


@dataclass(frozen=True)
class Result:
    """pass@1: `rate` with its 95 % Wilson interval, and what became of each task."""

    n: int
    passed: int
    rate: float
    low: float
    high: float
    outcomes: dict[str, str] = field(default_factory=dict)


def load_problems(path: Path = PROBLEMS) -> list[Problem]:
    """The problems that ship here; an empty list where the file is absent."""
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return [Problem(**{name: row[name] for name in Problem.__dataclass_fields__}) for row in rows]


def wilson(passed: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval for a share of `passed` in `n`. Raises ValueError unless 0 <= passed <= n and n > 0."""
    if not 0 <= passed <= n or n <= 0:
        raise ValueError(f"passed={passed} must lie in 0..n and n={n} above 0")
    share, square = passed / n, z * z / n
    centre = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def program_for(problem: Problem, answer: str, proof: str) -> str:
    """The file to run: the finished function, its test, and a last line that prints `proof`.

    An answer may be a whole function (in a code fence or bare) or the body that follows the prompt; a body
    ends where a line starts in the first column.
    """
    fenced = FENCE.search(answer)
    code = fenced.group(1) if fenced else answer
    if defines(code, problem.entry_point):
        code = preamble(problem) + code
    else:
        code = problem.prompt + END_OF_BODY.split(code, maxsplit=1)[0]
    return f"{code}\n\n{problem.test}\n\ncheck({problem.entry_point})\nprint({proof!r})\n"


def defines(code: str, name: str) -> bool:
    """Whether code is Python that defines a function of this name at the top."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def preamble(problem: Problem) -> str:
    """Imports and helpers that the prompt puts before the function to write."""
    return problem.prompt.split(f"def {problem.entry_point}", 1)[0]


def measure(
    complete: Callable[[str], str],
    problems: Sequence[Problem],
    limits: Limits | None = None,
    report: Callable[[int, int, str], None] = lambda done, total, message: None,
) -> Result:
    """Ask for one answer per problem, run it, and count.

    An answer passes when its test runs to the end: a word the answer cannot know is printed after it, so a
    program that leaves early with status 0 does not count.
    """
    if not problems:
        raise ValueError("no problems to measure on")
    outcomes: dict[str, str] = {}
    for done, problem in enumerate(problems, 1):
        proof = secrets.token_hex(16)
        outcome = run_program(program_for(problem, complete(problem.prompt), proof), limits)
        ended = outcome.output.rstrip().endswith(proof)
        left_early = "left before the test" if outcome.ok else outcome.reason
        outcomes[problem.task_id] = "passed" if outcome.ok and ended else left_early
        report(done, len(problems), f"{problem.task_id} {outcomes[problem.task_id]}")
    passed = sum(reason == "passed" for reason in outcomes.values())
    low, high = wilson(passed, len(problems))
    return Result(
        len(problems), passed, round(passed / len(problems), 4), round(low, 4), round(high, 4), outcomes
    )


def chat_completer(
    base_url: str, key: str, model: str, max_tokens: int = 512, temperature: float = 0.0
) -> Callable[[str], str]:
    """`complete` over the chat endpoint of a server. Raises RuntimeError with the server's words on an error."""
    url = f"{base_url.rstrip('/')}/chat/completions"
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{base_url!r} must start with http:// or https://")

    def complete(prompt: str) -> str:
        wish = f"Complete this Python function. Answer with code only.\n\n{prompt}"
        body = {
            "model": model,
            "messages": [{"role": "user", "content": wish}],
            "temperature": temperature,
            "max_tokens": max_tokens,
        }
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["choices"][0]["message"]["content"] or ""
        except urllib.error.HTTPError as error:
            words = error.read(2000).decode("utf-8", "replace")
            raise RuntimeError(f"{url} answered {error.code}: {words}") from error

    return complete


def main(argv: list[str] | None = None) -> int:
    """Command line. Prints one line per problem to stderr and the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--limit", type=int, help="only the first N problems")
    parser.add_argument("--set", choices=["humaneval", "mbpp"], default="humaneval")
    parser.add_argument("--samples", type=int, default=1, help="answers a problem, for pass@k")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--k", default="1", help="comma-separated, at most as many as there are samples")
    args = parser.parse_args(argv)
    complete = chat_completer(args.base_url, args.key, args.model, temperature=args.temperature)
    problems = _problems(args.set)[: args.limit]
    if not problems:
        print(f"the problems of {args.set} are missing: nothing to measure on", file=sys.stderr)
        return 1

    def report(done: int, total: int, text: str) -> None:
        print(f"{done}/{total} {text}", file=sys.stderr)

    if args.samples == 1:
        result = measure(complete, problems, report=report)
        print(json.dumps({"metric": f"{args.set}_pass_at_1", **result.__dict__}, indent=1))
        return 0
    from modelhub.sandbox.pass_at_k import estimate, sample

    right = sample(complete, problems, args.samples, report=report)
    found = [estimate(right, args.samples, int(k)).__dict__ for k in args.k.split(",")]
    print(json.dumps([{"metric": f"{args.set}_pass_at_{row['k']}", **row} for row in found], indent=1))
    return 0


def _problems(name: str) -> list[Problem]:
    if name == "humaneval":
        return load_problems()
    from modelhub.sandbox.mbpp import load_tasks

    return load_tasks()


if __name__ == "__main__":
    raise SystemExit(main())
