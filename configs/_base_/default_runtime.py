_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['ovd'])
# Among the default hooks, so that a config with hooks of its own keeps them.
default_hooks = dict(
    # Iterations in the logs, where the host would have epochs for metrics.
    logger=dict(log_metric_by_epoch=False),
    throughput=dict(type='ThroughputHook'),
    checkpoint=dict(type='AtomicCheckpointHook', max_keep_ckpts=2),
    exact_resume=dict(type='ExactResumeHook'),
    finite_loss=dict(type='FiniteLossHook', patience=20),
    hang_watch=dict(type='HangWatchHook', timeout=540.0),
    preemption=dict(type='PreemptionHook'),
    due_validation=dict(type='DueValidationHook'),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    open_vocabulary=dict(type='OpenVocabularyHook'),
)
randomness = dict(seed=0)
# JSON lines in vis_data/scalars.json, and TensorBoard where it is installed
vis_backends = [
    dict(type='LocalVisBackend'),
    dict(type='OptionalTensorboardVisBackend'),
]
visualizer = dict(vis_backends=vis_backends)
