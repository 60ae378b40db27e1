"""The temperature schedule and the distillation loss, against values worked by hand in float64."""

import math

import pytest
import torch

from modelhub.ml.distill.losses import distill_step, soft_loss
from modelhub.ml.distill.schedule import TemperatureScheduler

TEACHER = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0]], dtype=torch.float64)
STUDENT = torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.0, -2.0]], dtype=torch.float64)


def by_hand(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Mean over rows of KL(first‖second)·τ², with nothing but exponentials and logarithms."""
    total = 0.0
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        p = [math.exp(x / temperature) for x in a]
        q = [math.exp(x / temperature) for x in b]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        total += sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    return total / len(first) * temperature**2


def test_the_first_update_gives_4_9996_and_the_ten_thousandth_gives_one():
    scheduler = TemperatureScheduler()
    assert scheduler.temp == 5.0
    assert scheduler.update() == pytest.approx(4.9996, abs=1e-12)
    for _ in range(9_998):
        scheduler.update()
    assert scheduler.temp > 1.0
    assert scheduler.update() == 1.0
    assert scheduler.update() == 1.0


def test_a_restored_schedule_goes_on_where_the_saved_one_stood():
    first = TemperatureScheduler(5.0, 1.0, steps=10)
    for _ in range(3):
        first.update()
    second = TemperatureScheduler()
    second.load_state_dict(first.state_dict())
    assert second.temp == first.temp == pytest.approx(3.8)
    assert second.update() == first.update() == pytest.approx(3.4)


def test_temperatures_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="positive"):
        TemperatureScheduler(0.0, 1.0)
    with pytest.raises(ValueError, match="steps"):
        TemperatureScheduler(5.0, 1.0, steps=0)


def test_the_default_direction_is_teacher_to_student_scaled_by_temperature_squared():
    assert float(soft_loss(TEACHER, STUDENT, 5.0)) == pytest.approx(by_hand(TEACHER, STUDENT, 5.0), rel=1e-12)
    assert float(soft_loss(TEACHER, STUDENT, 1.0)) == pytest.approx(by_hand(TEACHER, STUDENT, 1.0), rel=1e-12)


def test_the_reverse_direction_is_another_number():
    reverse = float(soft_loss(TEACHER, STUDENT, 2.0, direction="reverse"))
    assert reverse == pytest.approx(by_hand(STUDENT, TEACHER, 2.0), rel=1e-12)
    assert abs(reverse - by_hand(TEACHER, STUDENT, 2.0)) > 1e-3
    with pytest.raises(ValueError, match="direction"):
        soft_loss(TEACHER, STUDENT, 2.0, direction="sideways")


def test_the_loss_is_not_divided_by_the_number_of_labels():
    padded = [torch.cat([x, torch.full((2, 50), -1e4, dtype=x.dtype)], dim=1) for x in (TEACHER, STUDENT)]
    assert float(soft_loss(*padded, 3.0)) == pytest.approx(by_hand(TEACHER, STUDENT, 3.0), rel=1e-9)


def test_a_step_lowers_the_temperature_once_and_uses_the_new_one():
    scheduler = TemperatureScheduler(5.0, 1.0, steps=4)
    loss = distill_step(TEACHER, STUDENT, scheduler)
    assert scheduler.temp == 4.0
    assert float(loss) == pytest.approx(by_hand(TEACHER, STUDENT, 4.0), rel=1e-12)


def test_only_the_student_gets_a_gradient():
    teacher, student = TEACHER.clone().requires_grad_(), STUDENT.clone().requires_grad_()
    soft_loss(teacher, student, 2.0).backward()
    assert teacher.grad is None
    assert student.grad is not None and float(student.grad.abs().sum()) > 0
