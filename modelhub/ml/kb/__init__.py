"""Equipment and fault-code knowledge: the task where experts provably matter."""
