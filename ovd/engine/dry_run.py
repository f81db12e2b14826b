"""Two iterations of everything, before days of it."""

import inspect
import tempfile
from pathlib import Path
from typing import Any

from mmdet.registry import LOOPS
from mmengine.config import Config

from .hooks.dry_run_hook import DryRunHook, peak_memory
from .launch import build_runner

# Options that name a file or folder to write
OUTPUTS = (
    'broken_file',
    'out_dir',
    'out_file',
    'outfile_prefix',
    'report_dir',
)


def dry_run(cfg: Config) -> str:
    """Build all of a job, run two batches of each part, and keep nothing.

    Training starts, or goes on, as it would; the checkpoint hook is left out,
    and what else is written goes to a temporary folder. Class embeddings that
    a hook makes are the exception: the job needs them.

    Args:
        cfg (Config): Changed in place.

    Returns:
        str: Seconds and memory of each part, and the time of the whole job.
    """
    loop = LOOPS.get(
        (cfg.get('train_cfg') or {}).get('type') or 'EpochBasedTrainLoop'
    )
    with tempfile.TemporaryDirectory(prefix='dry_run_') as folder:
        cfg.work_dir = folder
        if 'dry_run' in inspect.signature(loop).parameters:
            cfg.train_cfg.dry_run = True
            build_runner(cfg).train()
            return f'dry run: nothing was written, {peak_memory()}'
        _redirect(cfg._cfg_dict, folder)
        hooks = cfg.setdefault('default_hooks', {})
        hooks.update(checkpoint=None, dry_run=dict(type='DryRunHook'))
        runner = build_runner(cfg)
        runner.train()
        if cfg.get('test_cfg') is not None:
            runner.test()
        return next(
            hook for hook in runner.hooks if isinstance(hook, DryRunHook)
        ).report(runner)


def _redirect(node: Any, folder: str) -> None:
    """Have what a config writes written to another folder."""
    if isinstance(node, dict):
        if node.get('type') == 'ProposalDump':  # --out of tools/test.py
            node.setdefault('out_file', 'proposals.safetensors')
        for name in OUTPUTS:
            if isinstance(node.get(name), str):
                node[name] = str(Path(folder, Path(node[name]).name))
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for item in node:
            _redirect(item, folder)
