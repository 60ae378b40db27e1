"""Production: secrets must be set, https only, MFA enforced for people."""

from switchyard.settings.base import *  # noqa: F403
from switchyard.settings.base import SWITCHYARD
from switchyard.settings.env import env_bool, env_int, env_list, env_secret

DEVELOPMENT = False
SECRET_KEY = env_secret("SWITCHYARD_SECRET_KEY", "", development=False)
ALLOWED_HOSTS = env_list("SWITCHYARD_HOSTS")
SECURE_SSL_REDIRECT = env_bool("SWITCHYARD_SSL_REDIRECT", True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = env_int("SWITCHYARD_HSTS_S", 31_536_000, low=0, high=63_072_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SWITCHYARD = SWITCHYARD | {
    "KEY_PEPPER": env_secret("SWITCHYARD_KEY_PEPPER", "", development=False),
    "SECRETS_KEYS": env_list("SWITCHYARD_SECRETS_KEYS"),
}
