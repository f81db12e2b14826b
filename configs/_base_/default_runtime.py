_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['ovd'])
# Among the default hooks, so that a config with hooks of its own keeps them.
default_hooks = dict(
    checkpoint=dict(
        max_keep_ckpts=2, backend_args=dict(backend='atomic_local')),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    open_vocabulary=dict(type='OpenVocabularyHook'))
randomness = dict(seed=0)
