# The last, optional step of YOLOX's road map: a branch that selects one box an object, no NMS.
_base_ = './yolox_d53_8xb8-300e_coco.py'

model = dict(
    bbox_head=dict(type='mmlayerwise.YOLOXNMSFreeHead'),
    test_cfg=dict(_delete_=True, score_thr=0.01, max_per_img=100),
)
