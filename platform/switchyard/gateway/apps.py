from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "switchyard.gateway"
    label = "gateway"

    def ready(self) -> None:
        from modelhub.batch_work import register_keeper
        from switchyard.gateway.batches.book import Book

        register_keeper(Book())
