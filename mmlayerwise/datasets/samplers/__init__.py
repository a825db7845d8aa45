"""Samplers of data loaders."""

from mmlayerwise.datasets.samplers.class_balanced_batch_sampler import ClassBalancedBatchSampler

__all__ = ['ClassBalancedBatchSampler']
