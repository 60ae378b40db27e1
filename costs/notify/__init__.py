"""Alerts on their way to people: targets, an outbox in the database, webhooks and e-mail."""
