"""An alert as an e-mail, through Django's mail backend."""

from __future__ import annotations

import smtplib

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.message import BadHeaderError

from costs.notify.errors import Undelivered

SMTP = "django.core.mail.backends.smtp.EmailBackend"


def send(address: str, subject: str, text: str) -> None:
    """Raises Undelivered."""
    if settings.EMAIL_BACKEND == SMTP and not settings.EMAIL_HOST:
        raise Undelivered(
            "No mail server is set: name one in EMAIL_URL, such as smtp+tls://user:password@host:587."
        )
    try:
        EmailMessage(" ".join(subject.split())[:200], text, None, [address]).send()
    except BadHeaderError:
        raise Undelivered("The address holds a line break.") from None
    except smtplib.SMTPRecipientsRefused:
        raise Undelivered("The mail server refuses this address.") from None
    except smtplib.SMTPException as error:
        raise Undelivered(f"The mail server said no: {type(error).__name__}.") from None
    except OSError as error:
        raise Undelivered(f"The mail server can't be reached: {error.strerror or error}.") from None
