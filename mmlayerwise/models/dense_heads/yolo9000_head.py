"""The head of YOLO9000."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import nn

from mmlayerwise.models.dense_heads.yolov2_head import YOLOv2Head
from mmlayerwise.models.layers.word_tree import WordTree
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError

ANCHORS = ((0.77871, 1.14074), (3.00525, 4.31277), (9.22725, 9.61974))


@MODELS.register_module()
class YOLO9000Head(YOLOv2Head):
    """YOLOv2's head with the classes of a word tree, trained with boxes and with image labels.

    Redmon and Farhadi, 2017, sections 3 and 4 (https://arxiv.org/abs/1612.08242); numbers from
    darknet's ``yolo9000.cfg``, whose only convolution behind the backbone gives the outputs.

    An image whose meta information has ``image_level=True`` has one label, the number of a node,
    and its box is not used. It trains the classes of the anchor where objectness times probability
    of the node is highest, and pulls that objectness up to ``least_objectness``.

    Args:
        tree: File of the word tree, see :meth:`WordTree.from_file`.
        classes: Names of the nodes that stand for the labels 0, 1, ... of the detection data;
            predictions are of these labels then. None: labels are numbers of nodes, and
            predictions those that ``tree.descend`` finds.
        in_channels: Channels of the input.
        anchors: Widths and heights of the anchors, in cells.
        tree_threshold: Probability above which a prediction goes down the tree.
        least_objectness: See above.
        kwargs: As for :class:`YOLOv2Head`.

    Raises:
        UserError: A class is not in the tree.
    """

    def __init__(
        self,
        tree: str | os.PathLike,
        classes: Sequence[str] | None = None,
        in_channels: int = 1024,
        anchors: Sequence[Sequence[float]] = ANCHORS,
        tree_threshold: float = 0.5,
        least_objectness: float = 0.3,
        **kwargs: Any,
    ) -> None:
        word_tree = WordTree.from_file(tree)
        super().__init__(len(word_tree), in_channels=in_channels, anchors=anchors, **kwargs)
        self.tree = word_tree
        self.tree_threshold = tree_threshold
        self.least_objectness = least_objectness
        nodes = None
        if classes is not None:
            missing = sorted(set(classes) - set(word_tree.names))
            if missing:
                raise UserError(f'{tree} has no node for the classes {", ".join(missing)}')
            nodes = torch.tensor([word_tree.names.index(name) for name in classes])
        self.register_buffer('nodes', nodes, persistent=False)

    def _init_layers(self) -> None:
        self.convs_bridge = nn.ModuleList([nn.Identity()])
        outputs = self.num_base_priors * self.num_attrib
        self.convs_pred = nn.ModuleList([nn.Conv2d(self.in_channels[0], outputs, 1)])

    def class_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Probabilities of the labels, of shape (..., C); of one node only without classes."""
        probabilities = self.tree.log_probabilities(logits).exp()
        if self.nodes is not None:
            return probabilities[..., self.nodes]
        node = self.tree.descend(probabilities, self.tree_threshold)[..., None]
        return torch.zeros_like(probabilities).scatter(-1, node, probabilities.gather(-1, node))

    def class_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum the cross-entropies of every softmax on the paths to the labels' nodes."""
        nodes = labels if self.nodes is None else self.nodes[labels]
        return -self.tree.log_probabilities(logits).gather(1, nodes[:, None]).sum()

    def loss_by_feat(
        self,
        pred_maps: tuple[torch.Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of a batch of images with boxes and images with a label.

        Args:
            pred_maps: One tensor of shape (N, A * (5 + V), H, W).
            batch_gt_instances: ``bboxes`` in pixels and ``labels`` of each image.
            batch_img_metas: Meta information of each image; ``image_level`` tells its kind.
            batch_gt_instances_ignore: Not used.

        Returns:
            The losses of boxes, objectness and classes.
        """
        image_level = [bool(meta.get('image_level', False)) for meta in batch_img_metas]
        boxed = [index for index, flag in enumerate(image_level) if not flag]
        losses = dict.fromkeys(('loss_bbox', 'loss_obj', 'loss_cls'), pred_maps[0].sum() * 0)
        if boxed:
            truths = [batch_gt_instances[index] for index in boxed]
            metas = [batch_img_metas[index] for index in boxed]
            parts = super().loss_by_feat((pred_maps[0][boxed],), truths, metas)
            # They are means over the images with boxes.
            losses = {name: value * len(boxed) for name, value in parts.items()}
        _, outputs = self._flatten(pred_maps[0])
        for index, flag in enumerate(image_level):
            if flag:
                label = batch_gt_instances[index].labels[:1]
                object_loss, class_loss = self._loss_of_label(outputs[index], label)
                losses['loss_obj'] = losses['loss_obj'] + object_loss
                losses['loss_cls'] = losses['loss_cls'] + class_loss
        return {name: value / len(image_level) for name, value in losses.items()}

    def _loss_of_label(
        self, outputs: torch.Tensor, node: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        log_probabilities = self.tree.log_probabilities(outputs[:, 5:])[:, node[0]]
        objectness = outputs[:, 4].sigmoid()
        best = (objectness * log_probabilities.exp()).argmax()
        lack = (self.least_objectness - objectness[best]).clamp(min=0)
        return self.object_scale * lack.square() / 2, -self.class_scale * log_probabilities[best]
