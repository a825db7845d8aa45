# VD-CNN of depth 17 on AG's News.
_base_ = './vdcnn9_1xb128-15e_ag-news.py'

model = dict(backbone=dict(depth=17))
