# RetinaNet whose first layer is learned forward from the features of ground-truth boxes.
_base_ = '../retinanet/retinanet_r18_fpn_1xb8-6e_coco-mini.py'

train_cfg = dict(type='mmlayerwise.LayerwiseTrainLoop', num_forward_layers=1)
