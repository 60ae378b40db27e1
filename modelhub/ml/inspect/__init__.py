"""The inspection classifier: names of people and attempts to take a model over, where patterns see nothing."""
