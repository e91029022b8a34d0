"""All settings, from the environment; every one has a default, so the product runs with none set.

Wrong values do not stop the import of this file: `manage.py check` names them (annotate/checks.py).
"""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.str("VAR_DIR", str(BASE_DIR / "var")))
FILES_DIR = Path(env.str("FILES_DIR", str(VAR_DIR / "files")))

# Values that could not be read, as (variable, what is wrong); annotate/checks.py turns them into errors.
SETTINGS_ERRORS: list[tuple[str, str]] = []


def _read(name: str, cast: Callable[..., Any], default: Any) -> Any:
    try:
        return cast(name, default=default)
    except (ValueError, environ.ImproperlyConfigured) as error:
        SETTINGS_ERRORS.append((name, str(error)))
        return default


def _bool(name: str, default: bool) -> bool:
    word = env.str(name, default="").strip().lower()
    if word in ("", "1", "true", "yes", "on", "0", "false", "no", "off"):
        return word in ("1", "true", "yes", "on") if word else default
    SETTINGS_ERRORS.append((name, f"is {word!r}; use 1 or 0"))
    return default


def _secret_key() -> str:
    """The key from the environment, else one made once and kept in a file that only its owner can read."""
    if key := env.str("SECRET_KEY", default=""):
        return str(key)
    path = VAR_DIR / "secret_key"
    try:
        return _kept_key(path)
    except OSError as error:  # nothing works without this folder, so nothing starts
        raise SystemExit(f"VAR_DIR={VAR_DIR} cannot be used: {error.strerror}.") from None


def _kept_key(path: Path) -> str:
    if not path.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        # Written aside and linked, so that two first starts at once agree on one key (mkstemp gives 0600).
        handle, draft = tempfile.mkstemp(dir=VAR_DIR)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    return path.read_text()


def _database() -> dict[str, Any]:
    """SQLite unless DATABASE_URL says otherwise."""
    default = f"sqlite:///{VAR_DIR / 'goldloop.sqlite3'}"
    url = env.str("DATABASE_URL", default=default)
    if urlsplit(url).scheme not in ("sqlite", "postgres", "postgresql"):
        SETTINGS_ERRORS.append(("DATABASE_URL", "does not begin with sqlite:/// or postgres://"))
        url = default
    config: dict[str, Any] = environ.Env.db_url_config(url)
    config["CONN_MAX_AGE"] = None
    config["OPTIONS"] = config.get("OPTIONS") or {}
    if config["ENGINE"].endswith("postgresql"):
        # A kept connection is asked whether it still lives before the next request uses it.
        config["CONN_HEALTH_CHECKS"] = True
        # What the URL says goes before. Nobody waits for a lock for longer than SQLite's writers do; statements have
        # no limit, because long work has long ones. Plans are kept of what annotate/models/compiled.py asks, only.
        usual = {"connect_timeout": 5, "options": "-c lock_timeout=20s", "prepare_threshold": 5}
        config["OPTIONS"] = {**usual, **config["OPTIONS"]}
    if config["ENGINE"].endswith("sqlite3"):
        # Measured: deferred transactions fail at once under eight writers; IMMEDIATE ones never did.
        # FULL, because NORMAL may lose an acknowledged label when the power fails.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA cache_size=-65536;",
        }
        if config["NAME"] != ":memory:":
            Path(config["NAME"]).parent.mkdir(parents=True, exist_ok=True)
            # Tests with threads or several connections need a file, not :memory:; one of their own per process,
            # so that two test runs at once do not delete each other's.
            own = Path(tempfile.gettempdir()) / f"goldloop-test-{os.getpid()}.sqlite3"
            config["TEST"] = {"NAME": env.str("TEST_DATABASE", str(own))}
    return config


def _mail_server() -> dict[str, Any]:
    """Django's settings of its mail from EMAIL_URL; empty where it is not set, or cannot be used."""
    if not env.str("EMAIL_URL", default=""):
        return {}
    try:
        found: dict[str, Any] = env.email_url("EMAIL_URL")
        is_usable = ".smtp." not in found["EMAIL_BACKEND"] or bool(found["EMAIL_HOST"])
    except (ValueError, environ.ImproperlyConfigured):
        is_usable = False
    if is_usable:
        return found
    # The value may hold a password, so it is not repeated.
    example = "smtp+tls://user:password@host:587"
    SETTINGS_ERRORS.append(("EMAIL_URL", f"is no address of a mail server, such as {example}"))
    return {}


DEBUG = _bool("DEBUG", False)
SITE_URL = env.str("SITE_URL", "http://localhost:8000").rstrip("/")
SECRET_KEY = _secret_key()
# Keys of LLM servers are encrypted with the first of these (Fernet keys) and decrypted with any; not with SECRET_KEY,
# which may change any day. Empty: one is made once and kept in VAR_DIR/encryption_key (annotate/silver/secrets.py).
FIELD_ENCRYPTION_KEYS = env.list("FIELD_ENCRYPTION_KEYS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

DATABASES = {"default": _database()}

# Mail, sent only where EMAIL_URL names a server.
_server = _mail_server()
HAS_MAIL = bool(_server)
EMAIL_BACKEND = _server.get("EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend")
EMAIL_HOST = _server.get("EMAIL_HOST") or "localhost"
EMAIL_PORT = _server.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = _server.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _server.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = bool(_server.get("EMAIL_USE_TLS"))
EMAIL_USE_SSL = bool(_server.get("EMAIL_USE_SSL"))
EMAIL_FILE_PATH = _server.get("EMAIL_FILE_PATH") or None
EMAIL_TIMEOUT = 10  # seconds for each answer of the mail server; no request waits for it
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default="")
MAIL_IN_BACKGROUND = True  # False in tests that do not look at threads
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The bell that tells workers elsewhere of a new run. Empty: none; they look for work by themselves.
REDIS_URL = env.str("REDIS_URL", default="")

# Celery (labelapp/celery.py) is imported only where REDIS_URL is set. A message is the id of a row, nothing else:
# the row is the truth, so messages are acknowledged early, and one that is lost is found missing by the sweeper.
CELERY_BROKER_URL = REDIS_URL or None
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A request rings once: a broker that is away or does not answer costs it a second, and nothing else.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_TIMEOUT = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 1,
    "socket_keepalive": True,
    "max_retries": 0,  # else the second ring to a dead broker takes two seconds
}
CELERY_TASK_QUEUES: dict[str, dict[str, str]] = {"llm": {}, "io": {}, "ml": {}}  # annotate/runs/lanes.py
CELERY_TASK_DEFAULT_QUEUE = "io"
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # long work must not wait behind long work while others are idle
CELERY_WORKER_MAX_TASKS_PER_CHILD = 100
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_IMPORTS = ["annotate.management.celery"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "csp",
    "annotate",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",  # outermost: static files carry the policy too
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "annotate.web.http.limits.private_by_default",  # after the files, which browsers may keep
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django_htmx.middleware.HtmxMiddleware",  # so that refusals come in the form that was asked for
    "annotate.web.http.errors.OnlyMigrated",
    "annotate.web.http.limits.only_readable",  # before the CSRF check, the first that reads a form
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "annotate.web.http.guards.SignedInOnly",
    "annotate.web.http.clock.OwnTimeZone",
    "annotate.web.http.errors.ErrorPages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "labelapp.urls"
WSGI_APPLICATION = "labelapp.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "annotate.web.http.context.site",
            ]
        },
    }
]

AUTH_USER_MODEL = "annotate.User"
# Django's own, with the queries of every request compiled once.
AUTHENTICATION_BACKENDS = ["annotate.web.http.sessions.Backend"]
SESSION_ENGINE = "annotate.web.http.sessions"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]

# Behind https (SITE_URL says so) everything that `check --deploy` asks for is on.
_https = SITE_URL.startswith("https://")
SECURE_SSL_REDIRECT = _bool("SECURE_SSL_REDIRECT", _https)
SECURE_HSTS_SECONDS = _read("SECURE_HSTS_SECONDS", env.int, 31_536_000 if _https else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
CSRF_TRUSTED_ORIGINS = [SITE_URL] if _https else []
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if _bool("BEHIND_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Pages load nothing from elsewhere and run no inline script or style (ARCHITECTURE, "Pages").
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # no collectstatic step: the files are served from where they are
SILENCED_SYSTEM_CHECKS: list[str] = []

LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
CSRF_FAILURE_VIEW = "annotate.web.http.errors.stale_form"
SESSION_COOKIE_SAMESITE = "Lax"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000  # bytes of a request: an answer with a long comment is far below
# No page takes files, so nothing of one is kept, least of all in /tmp before it is known who sends it.
# Uploads (issue 5) need handlers of their own, on their own page and behind its door.
FILE_UPLOAD_HANDLERS: list[str] = []
UPLOAD_MAX_BYTES = _read("UPLOAD_MAX_BYTES", env.int, 500_000_000)  # of one file as it is sent, packed or not
# What may be sent to one project in a day (of UTC), thrown away or not.
UPLOAD_DAILY_BYTES = _read("UPLOAD_DAILY_BYTES", env.int, 20_000_000_000)
UPLOAD_DAILY_FILES = _read("UPLOAD_DAILY_FILES", env.int, 200)
IMPORT_MAX_BYTES = _read("IMPORT_MAX_BYTES", env.int, 2_000_000_000)  # of one uploaded file when it is unpacked

# The API (annotate/api). What every endpoint is allowed, takes and answers it says itself; these are for the rest.
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "annotate.api.http.description.Description",
    "DEFAULT_AUTHENTICATION_CLASSES": ["annotate.api.http.authentication.BearerToken"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["annotate.api.http.media.Json"],
    "DEFAULT_RENDERER_CLASSES": ["annotate.api.http.media.AsJson"],
    "UNAUTHENTICATED_USER": None,
    "FORMAT_SUFFIX_KWARG": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Goldloop",
    "DESCRIPTION": "Everything that the pages do, for programs. See docs/api.md for how to begin.",
    "VERSION": "1",
    "OAS_VERSION": "3.0.3",
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [],  # the one there is gives enumerations names of its own
    "ENABLE_DJANGO_DEPLOY_CHECK": False,  # tests/api asks for a description without warnings
    "PATH_CONVERTER_OVERRIDES": {
        "id": {"type": "string", "pattern": "^[0-9a-f]{20}$"},
        "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
        "file": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"},
        "money": {"type": "string", "enum": ["machine", "human"]},
        "slug": {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"},
    },
}
# (requests a second, how many at once before that counts) of each token; 0 a second: no limit
# (docs/api.md). Counted in Redis where REDIS_URL is set, else in rows: on PostgreSQL of the site's database, on SQLite
# of a database of their own, which no read of the site waits for (docs/decisions/020-counting-requests.md).
API_THROTTLES: dict[str, tuple[float, int]] = {"request": (50.0, 100), "submit": (20.0, 60)}
API_RATES_FILE = VAR_DIR / "rates.sqlite3"
API_HOURLY = {"import": 6, "export": 12}  # of each person, counted by what there is

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

# Machine learning
ENCODER_PATH = env.str("ENCODER_PATH", default="")  # a directory; empty: the packaged MiniLM
# From less free room than this share of a disk on, the site is not ready (GET /readyz).
READY_FREE_SHARE = _read("READY_FREE_SHARE", env.float, 0.05)
REMEMBER_VECTORS = _bool("REMEMBER_VECTORS", False)  # in memory by text, for simulations over several seeds
# When a paid pre-labeling pauses because answers name no label (annotate/silver/unusable.py).
PRELABEL_UNUSABLE_IN_A_ROW = _read("PRELABEL_UNUSABLE_IN_A_ROW", env.int, 20)  # 0: never
PRELABEL_UNUSABLE_SHARE = _read("PRELABEL_UNUSABLE_SHARE", env.float, 0.5)  # more than this; 1: never
PRELABEL_UNUSABLE_LEAST = _read("PRELABEL_UNUSABLE_LEAST", env.int, 50)  # answers from which the share counts
# How long a paid pre-labeling waits (annotate/providers/outages.py, annotate/silver/stopping.py).
PRELABEL_OUTAGE_SECONDS = _read("PRELABEL_OUTAGE_SECONDS", env.float, 600.0)  # for a server that does not answer
PRELABEL_FINISH_SECONDS = _read("PRELABEL_FINISH_SECONDS", env.float, 60.0)  # for calls in flight when it stops
# Runs that one worker performs at a time, by what they need (annotate/runs/lanes.py).
WORKER_LLM_RUNS = _read("WORKER_LLM_RUNS", env.int, 4)
WORKER_IO_RUNS = _read("WORKER_IO_RUNS", env.int, 2)
WORKER_ML_RUNS = _read("WORKER_ML_RUNS", env.int, 1)
RUN_SWEEP_SECONDS = _read("RUN_SWEEP_SECONDS", env.float, 10.0)  # between two looks of a Celery worker for lost runs
SEAL_SECONDS = _read("SEAL_SECONDS", env.float, 60.0)  # between two rounds of a worker's sealer
RUN_ATTEMPTS = _read("RUN_ATTEMPTS", env.int, 3)  # a run that kills its worker must not go on for ever
RUN_LEASE_SECONDS = _read("RUN_LEASE_SECONDS", env.int, 120)
ANSWER_LEASE_SECONDS = _read("ANSWER_LEASE_SECONDS", env.int, 900)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "WARNING")},
}
