"""pass@k as its paper defines it, by hand and by counting; MBPP in HumanEval's form."""

from __future__ import annotations

import itertools

import pytest

from modelhub.sandbox.humaneval import program_for
from modelhub.sandbox.mbpp import as_problem, load_tasks
from modelhub.sandbox.pass_at_k import estimate, pass_at_k, sample
from modelhub.sandbox.run import run_program


def test_the_hand_worked_value():
    """Five samples, two right, two drawn: 1 − C(3,2)/C(5,2) = 1 − 3/10."""
    assert pass_at_k(5, 2, 2) == pytest.approx(0.7)
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert (pass_at_k(4, 0, 2), pass_at_k(4, 4, 1), pass_at_k(4, 3, 2)) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(("n", "c", "k"), [(7, 2, 3), (6, 5, 2), (8, 1, 8), (5, 3, 4)])
def test_it_is_the_share_of_draws_that_hold_a_right_one(n: int, c: int, k: int):
    draws = list(itertools.combinations(range(n), k))
    held = sum(any(i < c for i in draw) for draw in draws)
    assert pass_at_k(n, c, k) == pytest.approx(held / len(draws))


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)])
def test_what_makes_no_sense_is_refused(n: int, c: int, k: int):
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def test_an_estimate_over_problems_has_its_interval():
    found = estimate({"a": 2, "b": 0, "c": 4, "d": 1}, samples=4, k=1)
    assert found.value == pytest.approx((0.5 + 0 + 1 + 0.25) / 4)
    assert 0 <= found.low <= found.value <= found.high <= 1
    with pytest.raises(ValueError):
        estimate({}, 4, 1)


def test_samples_are_run_one_by_one():
    problem = load_tasks()[0]
    answers = itertools.cycle(
        [problem.canonical_solution, f"def {problem.entry_point}(*given):\n    return None\n"]
    )
    right = sample(lambda prompt: next(answers), [problem], 4)
    assert right == {problem.task_id: 2}


def test_mbpp_ships_in_humanevals_form_and_its_references_pass():
    tasks = load_tasks()
    assert len(tasks) > 280 and all(task.entry_point in task.prompt for task in tasks)
    for task in tasks[::60]:
        compile(task.prompt + "    return None\n", task.task_id, "exec")
        outcome = run_program(program_for(task, task.canonical_solution, "proof"))
        assert outcome.ok and outcome.output.rstrip().endswith("proof"), (task.task_id, outcome.reason)


def test_a_wrong_answer_fails_its_asserts():
    task = load_tasks()[1]
    assert not run_program(
        program_for(task, f"def {task.entry_point}(*given):\n    return object()\n", "p")
    ).ok


def test_a_task_whose_asserts_call_nothing_of_its_own_is_left_out():
    row = {
        "task_id": 1,
        "prompt": "x",
        "code": "def f(a):\n    return a",
        "test_imports": [],
        "test_list": ["assert abs(-1) == 1"],
    }
    assert as_problem(row) is None
