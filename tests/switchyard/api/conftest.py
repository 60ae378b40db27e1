import pytest

from tests.switchyard.api.company import Company, make_company


@pytest.fixture
def company(db: None) -> Company:
    return make_company()
