"""One ASGI application: the gateway takes /v1/*, Django everything else, here or in a process of its own.

With SWITCHYARD_PAGES_URL set this process loads neither the URL map nor the views, forms and charts behind it.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

# Under ASGI each request has a thread of its own: a connection kept for the next request is never found again, and sixty
# pages a minute exhaust PostgreSQL.
for database in settings.DATABASES.values():
    database["CONN_MAX_AGE"] = 0

pages_url = settings.SWITCHYARD["PAGES_URL"]
if pages_url:  # the admin's own search for what it manages is the pages process's work as well
    settings.INSTALLED_APPS = [
        "django.contrib.admin.apps.SimpleAdminConfig" if name == "django.contrib.admin" else name
        for name in settings.INSTALLED_APPS
    ]
django.setup(set_prefix=False)

from switchyard.gateway.front import GatewayFront  # noqa: E402
from switchyard.gateway.pages import BadPagesUrl, Pages, PagesElsewhere, PagesHere  # noqa: E402
from switchyard.gateway.pages_headers import front_token  # noqa: E402


def pages() -> Pages:
    """Raises ImproperlyConfigured when the setting names no place."""
    if not pages_url:
        from django.core.asgi import get_asgi_application

        return PagesHere(get_asgi_application())
    try:
        return PagesElsewhere(pages_url, front_token(settings.SECRET_KEY))
    except BadPagesUrl as error:
        raise ImproperlyConfigured(str(error)) from None


application = GatewayFront(pages())
