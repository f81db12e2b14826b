"""Where entries of mmdet 2.x configs went: habits of the command line."""

import os.path
from typing import Any, Dict

from mmengine.config import Config

from .config_keys import entry, has_entry, nearest_keys

# Beginning of a key of 2.x -> that of the key of 3.x. The longest one counts.
MOVED = {
    'checkpoint_config': 'default_hooks.checkpoint',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'data.samples_per_gpu': 'train_dataloader.batch_size',
    'data.test': 'test_dataloader.dataset',
    'data.test_dataloader': 'test_dataloader',
    'data.train': 'train_dataloader.dataset',
    'data.train_dataloader': 'train_dataloader',
    'data.val': 'val_dataloader.dataset',
    'data.val_dataloader': 'val_dataloader',
    'data.workers_per_gpu': 'train_dataloader.num_workers',
    'dist_params': 'env_cfg.dist_cfg',
    'evaluation.interval': 'train_cfg.val_interval',
    'evaluation.metric': 'val_evaluator.metric',
    'evaluation.save_best': 'default_hooks.checkpoint.save_best',
    'log_config.interval': 'default_hooks.logger.interval',
    'model.pretrained': 'model.backbone.init_cfg.checkpoint',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer.paramwise_cfg': 'optim_wrapper.paramwise_cfg',
    'optimizer_config.grad_clip': 'optim_wrapper.clip_grad',
    'resume_from': 'load_from',
    'runner.max_epochs': 'train_cfg.max_epochs',
    'runner.max_iters': 'train_cfg.max_iters',
    'seed': 'randomness.seed',
    # The model's settings stood beside the model before mmdet 2.8.
    'test_cfg.rcnn': 'model.test_cfg.rcnn',
    'test_cfg.rpn': 'model.test_cfg.rpn',
    'total_epochs': 'train_cfg.max_epochs',
    'train_cfg.rcnn': 'model.train_cfg.rcnn',
    'train_cfg.rpn': 'model.train_cfg.rpn',
    'train_cfg.rpn_proposal': 'model.train_cfg.rpn_proposal',
}
# What has no such place -> what does its job
REPLACED = {
    'data': 'train_dataloader, val_dataloader and test_dataloader',
    'evaluation': 'val_evaluator, test_evaluator and train_cfg.val_interval',
    'fp16': '+optim_wrapper.type=AmpOptimWrapper (loss_scale beside it)',
    'log_config.hooks': 'the list visualizer.vis_backends',
    'lr_config': 'the list param_scheduler (param_scheduler.1.milestones=…), '
    'which tools/print_config.py shows',
    'momentum_config': 'the list param_scheduler',
    'optimizer_config': 'optim_wrapper',
    'runner': 'train_cfg',
    'workflow': 'train_cfg.val_interval',
}
# Keys of 3.x that may be added: configs lack them, what reads them does not.
OPTIONAL = (
    'optim_wrapper.clip_grad',
    'optim_wrapper.paramwise_cfg',
    'default_hooks.checkpoint.save_best',
)


def translate(cfg: Config, key: str, value: Any) -> Dict[str, Any]:
    """Return the entries of 3.x that a key of 2.x means.

    Args:
        cfg (Config): It has no such key.
        key (str): Of the command line, such as ``data.samples_per_gpu``.
        value (Any): Its value.

    Returns:
        Dict[str, Any]: Keys and values; empty if it is no key of 2.x.

    Raises:
        ValueError: If nothing in 3.x, or in this config, does its job.
    """
    old = max(
        (
            name
            for name in (*MOVED, *REPLACED)
            if f'{key}.'.startswith(f'{name}.')
        ),
        key=len,
        default=None,
    )
    if old is None:
        return {}
    if old in REPLACED:
        raise ValueError(
            f'"{key}" is of mmdet 2.x; what does its job in 3.x: '
            f'{REPLACED[old]}'
        )
    new = MOVED[old] + key[len(old) :].replace(
        '.img_prefix', '.data_prefix.img'
    )
    if old == 'resume_from':
        return (
            dict(load_from=value, resume=True) if value else dict(resume=False)
        )
    if key == 'model.pretrained' and value is None:
        return {'model.backbone.init_cfg': None}
    if not has_entry(cfg, new) and not new.startswith(OPTIONAL):
        raise ValueError(
            f'"{key}" of mmdet 2.x is "{new}" in 3.x, but '
            + _why_not(cfg, new)
        )
    return {new: value, **_what_follows(cfg, new, value)}


def _why_not(cfg: Config, new: str) -> str:
    """Say why a config has no such entry."""
    loop = cfg.get('train_cfg') or {}
    if new in ('train_cfg.max_epochs', 'train_cfg.max_iters'):
        name = loop.get('type', 'the loop')
        counted = {'max_epochs', 'max_iters'} & set(loop)
        return f'{name} of this config ' + (
            f'is counted by train_cfg.{min(counted)}, which is '
            f'{loop[min(counted)]}'
            if counted
            else 'goes through its data once: it has no such limit'
        )
    return (
        f'this config has none{nearest_keys(cfg, new)} '
        f'Write +{new}=… to add it on purpose'
    )


def _what_follows(cfg: Config, new: str, value: Any) -> Dict[str, Any]:
    """Return what 2.x would have set along with an entry."""
    parent, _, name = new.rpartition('.')
    loader = parent.split('.')[0]
    if new == 'train_dataloader.num_workers' and value == 0:
        keep = 'train_dataloader.persistent_workers'
        return {keep: False} if has_entry(cfg, keep) else {}
    if name not in ('ann_file', 'img') or not isinstance(value, str):
        return {}
    # 3.x puts data_root before these paths, 2.x configs wrote them in full.
    dataset = entry(cfg, parent.removesuffix('.data_prefix'))
    root = dataset.get('data_root') or './'
    inside = (
        value.removeprefix(root).lstrip('/')
        if value.startswith(root)
        else value
    )
    found = {new: inside}
    evaluator = loader.replace('_dataloader', '_evaluator') + '.ann_file'
    if name == 'ann_file' and has_entry(cfg, evaluator):
        found[evaluator] = os.path.join(root, inside)
    return found
