"""All settings; dev, test and prod change a few. Our own knobs are in SWITCHYARD (switchyard.core.conf)."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from switchyard.core.conf import SWITCHYARD_DEFAULTS
from switchyard.settings.databases import database_from_url
from switchyard.settings.env import env_email, env_int, env_list, env_path, env_str

ROOT = Path(__file__).resolve().parents[3]
HOME = env_path("SWITCHYARD_HOME", ROOT / "var")

DEVELOPMENT = True
DEBUG = False
SECRET_KEY = env_str("SWITCHYARD_SECRET_KEY", "development-only-not-a-secret-do-not-use-in-production")
ALLOWED_HOSTS = env_list("SWITCHYARD_HOSTS", "127.0.0.1,localhost,[::1],testserver")
CSRF_TRUSTED_ORIGINS = env_list("SWITCHYARD_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_htmx",
    "simple_history",
    "django_celery_beat",
    "axes",
    "csp",
    "switchyard.core",
    "switchyard.audit",
    "switchyard.tenancy",
    "switchyard.jobs",
    "switchyard.supervisor",
    "costs",
    "modelhub",
    "routing",
    "switchyard.gateway",
    "switchyard.dashboards",
    "switchyard.demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "switchyard.urls"
ASGI_APPLICATION = "switchyard.asgi.application"
WSGI_APPLICATION = "switchyard.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": database_from_url(env_str("DATABASE_URL"), HOME)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CONN_MAX_AGE = 60

AUTH_USER_MODEL = "tenancy.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]

# Of those whose browser names none, and of what no reader waits for: alerts, their causes, e-mails.
LANGUAGE_CODE = env_str("SWITCHYARD_LANGUAGE", "en").lower()
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
if LANGUAGE_CODE not in dict(LANGUAGES):
    raise ImproperlyConfigured(
        f"SWITCHYARD_LANGUAGE={LANGUAGE_CODE!r} is none of {', '.join(dict(LANGUAGES))}."
    )
LOCALE_PATHS = [ROOT / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = HOME / "static"
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
MEDIA_ROOT = HOME / "media"

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],  # Plotly writes inline styles; it needs no eval
        "img-src": ["'self'", "data:", "blob:"],
        "object-src": ["'none'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "switchyard.tenancy.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "rest_framework.parsers.JSONParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "switchyard.core.problems.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Switchyard",
    "DESCRIPTION": "Policies, money, models and jobs of the hybrid AI platform.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "TaskEnum": "switchyard.tenancy.models.Workload.TASKS",
        "BillKindEnum": "costs.models.BillCheck.KINDS",
        "TargetKindEnum": "costs.notify.targets.KINDS",
        "JobKindEnum": "switchyard.jobs.models.Job.KINDS",
        "JobStateEnum": "switchyard.jobs.models.STATES",
        "AutoOrBooleanEnum": "modelhub.api.compressions.CHOICES",
    },
}

REDIS_URL = env_str("REDIS_URL", f"unix://{HOME}/run/valkey.sock")
CELERY_BROKER_URL = env_str("CELERY_BROKER_URL", REDIS_URL.replace("unix://", "redis+socket://"))
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 12 * 3600,  # must exceed the longest job
    # A message is only a wake-up: whoever submits doesn't wait for a broker that is away.
    "max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2,
}  # fmt: skip
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

PORT = env_int("PORT", 8000, low=1, high=65535)

globals().update(env_email("EMAIL_URL"))  # EMAIL_HOST and its like
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env_str("SWITCHYARD_EMAIL_FROM", "switchyard@localhost")
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

SWITCHYARD = SWITCHYARD_DEFAULTS | {
    "UPSTREAM_CIDRS": env_list("SWITCHYARD_UPSTREAM_CIDRS"),
    "PUBLIC_URL": env_str(
        "SWITCHYARD_URL", next(iter(CSRF_TRUSTED_ORIGINS), f"http://127.0.0.1:{PORT}")
    ).rstrip("/"),
    "DATA_DIR": env_str("SWITCHYARD_DATA", str(ROOT.parent / "shared" / "data")),
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("SWITCHYARD_LOG_LEVEL", "INFO")},
}
