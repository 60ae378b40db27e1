import pytest
from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet
from django.conf import settings

from switchyard.core.crypto import keyed_digest, open_for_lob, open_secret, seal_for_lob, seal_secret


def test_a_provider_secret_survives_a_rotation_of_keys(settings):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.SWITCHYARD = settings.SWITCHYARD | {"SECRETS_KEYS": [old]}
    sealed = seal_secret("vendor-key")
    settings.SWITCHYARD = settings.SWITCHYARD | {"SECRETS_KEYS": [new, old]}
    assert open_secret(sealed) == "vendor-key"


def test_an_answer_sealed_for_one_line_of_business_opens_for_no_other():
    sealed = seal_for_lob("legal", b'["Governing Law"]')
    assert open_for_lob("legal", sealed) == b'["Governing Law"]'
    with pytest.raises(InvalidTag):
        open_for_lob("healthcare", sealed)


def test_a_digest_depends_on_the_pepper(settings):
    before = keyed_digest("sy_live_x")
    settings.SWITCHYARD = settings.SWITCHYARD | {"KEY_PEPPER": "another"}
    assert keyed_digest("sy_live_x") != before


def test_the_published_secret_is_for_development_only():
    assert "development-only" in settings.SECRET_KEY
