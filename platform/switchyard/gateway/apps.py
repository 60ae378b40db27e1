from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "switchyard.gateway"
    label = "gateway"
