from django.apps import AppConfig


class SupervisorConfig(AppConfig):
    name = "switchyard.supervisor"
    label = "supervisor"
