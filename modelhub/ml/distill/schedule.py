"""The temperature of distillation: high at first, when the teacher's doubts teach, and one at the end."""

from __future__ import annotations


class TemperatureScheduler:
    """Falls in a straight line from `initial_temp` to `final_temp` over `steps` updates, then stays.

    Raises ValueError for a temperature that is not positive or fewer than one step.
    """

    def __init__(self, initial_temp: float = 5.0, final_temp: float = 1.0, steps: int = 10000) -> None:
        if initial_temp <= 0 or final_temp <= 0 or steps < 1:
            raise ValueError(
                f"temperatures must be positive and steps at least 1, got {initial_temp}, {final_temp}, {steps}"
            )
        self.initial_temp, self.final_temp, self.steps = float(initial_temp), float(final_temp), int(steps)
        self._updates = 0

    @property
    def temp(self) -> float:
        """The temperature now. It is worked out from the count of updates, so no rounding error builds up."""
        if self._updates >= self.steps:
            return self.final_temp
        return self.initial_temp - self._updates * (self.initial_temp - self.final_temp) / self.steps

    def update(self) -> float:
        """Take one step and give the new temperature."""
        self._updates += 1
        return self.temp

    def state_dict(self) -> dict[str, float]:
        """All there is to save."""
        return {
            "initial_temp": self.initial_temp,
            "final_temp": self.final_temp,
            "steps": self.steps,
            "updates": self._updates,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a saved state."""
        self.initial_temp, self.final_temp = float(state["initial_temp"]), float(state["final_temp"])
        self.steps, self._updates = int(state["steps"]), int(state["updates"])
