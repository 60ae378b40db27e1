"""Dated price sheets and exchange rates."""

from django.core.validators import MaxValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from switchyard.core.clock import now


class Price(models.Model):
    """A dated version of a deployment's price sheet. `valid_to` is exclusive; empty = open.

    Amounts are nano-units of the sheet's currency per million units; a sheet in another currency than USD is turned into
    nano-dollars by the exchange rate in force.
    """

    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="prices")
    deployment = models.CharField(max_length=63)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    input_nusd_per_munit = models.BigIntegerField(default=0)
    cached_input_nusd_per_munit = models.BigIntegerField(null=True, blank=True)
    cache_write_nusd_per_munit = models.BigIntegerField(null=True, blank=True)
    output_nusd_per_munit = models.BigIntegerField(default=0)
    reasoning_nusd_per_munit = models.BigIntegerField(null=True, blank=True)
    call_nusd_per_munit = models.BigIntegerField(default=0)
    second_nusd_per_munit = models.BigIntegerField(default=0, help_text="Per million seconds of a call.")
    training_nusd_per_munit = models.BigIntegerField(
        null=True, blank=True, help_text="Of trained tokens; empty = the vendor is not asked to fine-tune."
    )
    audio_input_nusd_per_munit = models.BigIntegerField(
        null=True, blank=True, help_text="Of audio tokens; empty = no sound is sent there."
    )
    audio_output_nusd_per_munit = models.BigIntegerField(
        null=True, blank=True, help_text="Of audio tokens; empty = no sound is asked for there."
    )
    search_nusd_per_munit = models.BigIntegerField(
        null=True, blank=True, help_text="Of searches that the vendor runs; empty = none are asked for there."
    )
    minimum_nusd = models.BigIntegerField(default=0)
    batch_ppm = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(1_000_000)],
        help_text="What batch work pays of the price, in parts per million; empty = the whole price.",
    )
    tiers = models.JSONField(
        default=list,
        blank=True,
        help_text="Prices for long inputs, ascending: "
        '[{"above_tokens_in": 200000, "input_nusd_per_munit": …, "output_nusd_per_munit": …}].',
    )
    source = models.CharField(max_length=300, help_text="Book and date, e.g. “llm-prices, 2026-08-05”.")
    created_at = models.DateTimeField(default=now)

    history = HistoricalRecords()

    class Meta:
        ordering = ["deployment", "valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "deployment", "valid_from"], name="one_price_a_start"
            ),
            models.CheckConstraint(
                condition=models.Q(valid_to__isnull=True) | models.Q(valid_to__gt=models.F("valid_from")),
                name="price_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.deployment} from {self.valid_from:%Y-%m-%d}"

    @property
    def version(self) -> str:
        return f"price:{self.pk}"


class ExchangeRate(models.Model):
    """What one unit of a currency is worth in nano-dollars, from a date on until the next rate."""

    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="exchange_rates"
    )
    currency = models.CharField(max_length=3)
    valid_from = models.DateTimeField()
    nusd_per_unit = models.BigIntegerField()
    source = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=now)

    class Meta:
        ordering = ["currency", "-valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "currency", "valid_from"], name="one_exchange_rate_a_start"
            ),
            models.CheckConstraint(condition=models.Q(nusd_per_unit__gt=0), name="exchange_rate_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.currency} from {self.valid_from:%Y-%m-%d}"
