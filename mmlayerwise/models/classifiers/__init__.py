"""Image classifiers."""

from mmlayerwise.models.classifiers.image_classifier import ImageClassifier

__all__ = ['ImageClassifier']
