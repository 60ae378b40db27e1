"""Subcommands of `manage.py hal`, one module each: HELP, add_arguments(parser), handle(options, out).

A module put here is a subcommand of its own name; nothing else has to be changed.
"""
