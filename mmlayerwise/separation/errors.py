"""The error of this package."""

from mmlayerwise.utils.errors import UserError


class SeparationError(UserError, ValueError):
    """Features, labels or layers that cannot be measured; the message says how to mend it."""
