"""Making a model smaller by its structure: dense parts into experts, experts into fewer, and the plan for large ones."""
