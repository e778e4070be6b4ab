"""Errors a user can act on; pages and ``python -m db`` show their text."""


class RecordError(Exception):
    """A record cannot be kept or read; the text says what to do."""
