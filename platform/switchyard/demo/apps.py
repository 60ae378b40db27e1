from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "switchyard.demo"
    verbose_name = "Demonstration company"
