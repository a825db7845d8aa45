"""The two input sizes that classification backbones are built for."""

from mmlayerwise.utils.errors import UserError

STEMS = ('imagenet', 'cifar')


def check_stem(stem: str) -> str:
    """Check the name of a stem.

    Args:
        stem: 'imagenet' for images of 224x224 and more, 'cifar' for 32x32.

    Returns:
        The name.

    Raises:
        UserError: If there is no such stem.
    """
    if stem not in STEMS:
        raise UserError(f'stem must be one of {", ".join(map(repr, STEMS))}, but is {stem!r}')
    return stem
