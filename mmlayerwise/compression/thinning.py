"""How many channels of the earlier layers may go before the index at the last layer suffers."""

from collections.abc import Callable, Sequence

# A layer is thinned in steps of this share of its channels ...
_CHUNK = 16
# ... and the last step is divided down to this share of a chunk.
_FINEST = 4


def largest_removal(
    num_channels: int, holds: Callable[[int], bool], removed: int = 0, least_kept: int = 1
) -> int:
    """Find how many channels can go.

    Chunks of a sixteenth are tried, twice as many at once after each success; what failed is
    halved, the last chunk too. Where the index falls steadily this finds what removing one chunk
    after another does, with fewer measurements.

    Args:
        num_channels: Channels of the layer.
        holds: Whether the index holds without the first n channels, the least important first.
        removed: Channels that are known to be dispensable.
        least_kept: How many have to stay.

    Returns:
        The number of channels, at least ``removed``.
    """
    chunk = max(1, num_channels // _CHUNK)
    finest = max(1, chunk // _FINEST)
    most = num_channels - least_kept
    good, bad, step = removed, most + 1, chunk
    while good < most:
        tried = min(good + step, most)
        if not holds(tried):
            bad = tried
            break
        good, step = tried, 2 * step
    while bad - good > finest:
        middle = (good + bad) // 2
        if holds(middle):
            good = middle
        else:
            bad = middle
    return good


def uniform_removal(widths: Sequence[int], share: float) -> list[int]:
    """Channels to remove from layers of some widths so that about a share of each stays."""
    return [width - max(1, round(share * width)) for width in widths]
