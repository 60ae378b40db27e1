"""What a student is taught by: the teacher's softened probabilities, and the right labels beside them."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from modelhub.ml.distill.schedule import TemperatureScheduler

Direction = Literal["forward", "reverse"]


def soft_loss(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float, direction: Direction = "forward"
) -> Tensor:
    """KL·τ² of both at temperature τ, summed over labels and averaged over rows.

    `forward` is KL(teacher‖student): the student must cover all that the teacher holds possible; `reverse`
    is KL(student‖teacher). `batchmean` divides by rows only; torch's default `mean` would divide by the
    number of labels as well and shrink the loss with it. τ² keeps gradients alike at every temperature
    (Hinton et al. 2015, arXiv 1503.02531).

    Shapes: (N, L) both -> scalar. The teacher gets no gradient.
    """
    teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    student = F.log_softmax(student_logits / temperature, dim=-1)
    if direction == "reverse":
        teacher, student = student, teacher
    elif direction != "forward":
        raise ValueError(f"direction={direction!r} must be 'forward' or 'reverse'")
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def distill_step(
    teacher_logits: Tensor,
    student_logits: Tensor,
    scheduler: TemperatureScheduler,
    direction: Direction = "forward",
) -> Tensor:
    """Lower the temperature by one step and give KL·τ² at the new one. Call once per optimiser step."""
    return soft_loss(teacher_logits, student_logits, scheduler.update(), direction)


def hard_loss(student_logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy with the right labels. Shapes: (N, L), (N,) int64 -> scalar."""
    return F.cross_entropy(student_logits, y)
