"""The servers behind the fixtures are real ones."""

import psycopg
import pytest


def test_valkey_answers_and_starts_empty(valkey):
    client = valkey.client()
    assert client.dbsize() == 0
    client.set("left", "behind")
    assert client.eval("return redis.call('GET', KEYS[1])", 1, "left") == b"behind"


def test_valkey_is_emptied_between_tests(valkey):
    assert valkey.client().exists("left") == 0


@pytest.mark.postgres
def test_postgres_answers(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select 40 + 2").fetchone() == (42,)
