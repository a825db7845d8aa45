"""The error of this package."""

from mmlayerwise.utils.errors import UserError


class CompressionError(UserError, ValueError):
    """A model or a plan that cannot be compressed; the message says how to mend it."""
