"""The one kind of error that is the user's to mend, and how a tool prints it."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Bad input: the message says what was wrong, what was expected and how to mend it."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Print an error that is the user's to mend as one message and exit with status 1.

    That is a :class:`UserError`, also one raised in a worker of a data loader, and what
    :func:`explain` recognises. Any other exception is a fault of the program and keeps its
    traceback.
    """
    try:
        yield
    except Exception as error:
        message = explain(error)
        if message is None or os.environ.get('MMLAYERWISE_TRACEBACK'):
            raise
        sys.exit(f'error: {message}')


def explain(error: BaseException) -> str | None:
    """Return what a user can do about an exception.

    Args:
        error: Anything that was raised while a config was read, built or run.

    Returns:
        One message, or None if the exception is not of a kind that a user can mend.
    """
    text = _without_worker_traceback(str(error), type(error).__name__)
    if isinstance(error, UserError):
        return text
    if isinstance(error, FileNotFoundError):
        name = error.filename
        return f'file {name!r} does not exist' if name else text
    if isinstance(error, IndexError):
        return _explain_label(text)
    if isinstance(error, ImportError) and 'custom modules' in text:
        return (
            f'{text.partition(",")[0]}: {error.__cause__ or error.__context__ or text}. Install '
            'the package or correct custom_imports in the config'
        )
    if type(error).__name__ == 'OutOfMemoryError':
        return (
            f'{text.partition(". ")[0]}. Use a smaller train_dataloader.batch_size or image scale '
            '(--cfg-options), or --amp'
        )
    return None


def _explain_label(text: str) -> str | None:
    """Explain a label that the loss could not look up."""
    match = re.search(r'Target (-?\d+) is out of bounds', text)
    if match is None:
        return None
    return (
        f'a label in the annotations is {match.group(1)}, which is not below num_classes of the '
        'head. Set num_classes to the number of classes, or correct the labels: pixels to leave '
        "out have the loss's ignore_index (255), and reduce_zero_label=True makes 0 such a pixel"
    )


def _without_worker_traceback(text: str, name: str) -> str:
    """Return the message of an exception that torch carried over from a worker process."""
    if 'DataLoader worker process' not in text:
        return text
    _, found, message = text.rpartition(f'{name}: ')
    return message.strip() if found else text
