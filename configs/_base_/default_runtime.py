# What every config starts from: logging, checkpoints and seeds.
custom_imports = dict(imports=['mmlayerwise'], allow_failed_imports=False)
default_scope = 'mmlayerwise'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # A resumed run draws what the uninterrupted one would have drawn.
    random_state=dict(type='mmlayerwise.RandomStateHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='mmengine.LocalVisBackend')]
visualizer = dict(type='mmengine.Visualizer', vis_backends=vis_backends, name='visualizer')

randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
