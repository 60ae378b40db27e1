import pytest

from switchyard.core.crypto import keyed_digest
from switchyard.tenancy.models import ApiKey, Application, ConfigVersion, LineOfBusiness, Organisation
from switchyard.tenancy.services import create_key, generate_secret, revoke_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def application():
    organisation = Organisation.objects.create(slug="acme", name="Acme")
    lob = LineOfBusiness.objects.create(organisation=organisation, slug="legal", name="Legal")
    return Application.objects.create(lob=lob, slug="contracts", name="Contracts")


def test_a_key_is_shown_once_and_kept_as_a_keyed_digest(application):
    key, plain = create_key(application=application, name="first", actor=None)
    assert plain.startswith("sy_live_")
    assert key.digest == keyed_digest(plain)
    stored = ApiKey.objects.filter(pk=key.pk).values().get()
    assert plain not in str(stored)
    assert plain.split("_")[3] not in str(stored)


def test_making_and_revoking_a_key_tells_every_process(application):
    key, _ = create_key(application=application, name="first", actor=None)
    before = ConfigVersion.objects.get().version
    revoke_key(key=key, actor=None)
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert ConfigVersion.objects.get().version == before + 1


def test_secrets_do_not_repeat():
    assert len({generate_secret("sy_live")[1] for _ in range(200)}) == 200
