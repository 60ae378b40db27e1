"""Why an alert didn't arrive."""


class Undelivered(Exception):
    """In words, for the row of the delivery; what it says is shown to who owns the target."""
