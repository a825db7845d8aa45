"""The one kind of error that is the user's to mend, and how a tool prints it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Bad input: the message says what was wrong, what was expected and how to mend it."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Print a :class:`UserError` as one message without a traceback and exit with status 1."""
    try:
        yield
    except UserError as error:
        sys.exit(f'error: {error}')
