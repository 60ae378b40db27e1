from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "switchyard.audit"
    label = "audit"
