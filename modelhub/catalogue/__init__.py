"""Ready-made entries: where vendors and servers answer, which models they have, what those cost, by whom and when."""
