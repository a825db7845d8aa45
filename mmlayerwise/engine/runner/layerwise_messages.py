"""What layer-wise learning tells when it cannot go on, or came to nothing."""

from typing import Any


def no_triplets(num_batches: int, batch_size: int | None) -> str:
    """Tell that an epoch gave no triplet.

    Args:
        num_batches: Batches of the epoch.
        batch_size: The loop's option.
    """
    return (
        f'In {num_batches} batches no sample had both another one of its class and one of another '
        'class in the same batch, so there are no triplets to learn from. Take larger batches, or '
        f'class-balanced ones (batch_size=250; now {batch_size}), or NearestTripletMiner with a '
        'memory.'
    )


def broken_loss(layer: str, iteration: int) -> str:
    """Tell that a loss, or the features it is of, is no number.

    Args:
        layer: Name of the layer.
        iteration: When it happened.
    """
    return (
        f'The triplet loss or the features of layer {layer!r} became NaN or infinite at iteration '
        f'{iteration}. Lower the learning rate (train_cfg.optim_wrapper), clip gradients, or check '
        'the data.'
    )


def collapsed_features(layer: str, epoch: dict[str, Any]) -> str:
    """Tell that the features of a layer collapsed, and what helps.

    Args:
        layer: Its name.
        epoch: What was noted of its last epoch.
    """
    return (
        f'The features of layer {layer!r} collapsed: nearest friends and enemies are '
        f'{epoch["relative_distance"]:.1e} of the squared length of the features apart, which '
        f'lowers the loss (to {epoch["loss"]:.4g}) without separating the classes (separation '
        f'index {epoch["separation_index"]:.4f}). The layer keeps the weights it began with. Learn '
        'fewer layers forward (num_forward_layers), or try HingeTripletLoss with a larger margin, '
        'larger batches, a lower learning rate (train_cfg.optim_wrapper).'
    )
