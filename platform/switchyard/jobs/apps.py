from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "switchyard.jobs"
    label = "jobs"
