# VD-CNN on AG's News whose first temporal convolution is learned forward, in class-balanced batches
# of texts.
_base_ = '../vdcnn/vdcnn9_1xb128-15e_ag-news.py'

train_cfg = dict(type='mmlayerwise.LayerwiseTrainLoop', num_forward_layers=1)
