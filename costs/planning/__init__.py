"""Answers to "buy, keep or switch off": break-even volumes, an exact queue, devices compared. Pure: numpy, no Django."""
