# VD-CNN of depth 17 on DBpedia.
_base_ = './vdcnn9_1xb128-15e_dbpedia.py'

model = dict(backbone=dict(depth=17))
