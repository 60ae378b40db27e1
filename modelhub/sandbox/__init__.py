"""Runs code that a model wrote, away from everything else, and counts how often it is right."""
