# The layout of darknet's later yolov1.cfg: batch normalisation, a locally connected layer in place
# of the first fully connected one, three boxes in a cell.
_base_ = './yolov1_8xb8-135e_voc0712.py'

model = dict(
    backbone=dict(norm_cfg=dict(type='BN')),
    bbox_head=dict(fc_channels=None, local_channels=256, num_predictors=3),
)
