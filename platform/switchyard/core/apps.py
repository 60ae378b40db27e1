from django.apps import AppConfig


class SwitchyardCoreConfig(AppConfig):
    name = "switchyard.core"
    label = "core"
