"""Fixtures that every test may ask for; each lives beside the fake it starts."""

pytest_plugins = ["tests.fakes.valkey", "tests.fakes.postgres", "tests.fakes.gateway", "tests.fakes.books"]
