from typing import Any

import pytest

from tests.routing.rollout.companies import make_company


@pytest.fixture
def company(db: None) -> Any:
    return make_company()
