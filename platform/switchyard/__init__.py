"""Switchyard: the hybrid AI platform for enterprises. The Celery application is loaded with Django."""

from switchyard.celery import app as celery_app

__all__ = ["celery_app"]
