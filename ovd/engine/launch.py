"""From the command line to a runner: config, device, process group."""

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from mmdet.registry import RUNNERS
from mmengine.config import Config
from mmengine.runner import Runner

from .checkpoints import find_checkpoint
from .config_check import check_types
from .config_names import check_names
from .config_origins import read_config
from .overrides import apply_overrides
from .processes import (
    end_children_with_process,
    end_with_launcher,
    take_slurm_variables,
)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is run, and where it writes."""
    parser.set_defaults(seed=None, deterministic=False, launcher='none')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='override entries of the config; +KEY=VALUE adds one',
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every job of a runner has."""
    add_config_arguments(parser)
    parser.add_argument('--seed', type=int, help='seed of all randomness')
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='the same result each time on one machine, on GPUs too; slower',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='none',
        help='set by the launchers of this folder',
    )


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the common arguments describe.

    Args:
        args (Namespace): ``config`` and what :func:`add_common_arguments`
            adds.

    Raises:
        FileNotFoundError: If the config does not exist, with near names.
        ValueError: If an override names a key that does not exist, or a type
            is not registered or does not take what the config gives it, or
            the file has keys of mmdet 2.x.
    """
    cfg = read_config(args.config)
    check_names(cfg)
    apply_overrides(cfg, args.cfg_options)
    cfg.cfg_options = list(args.cfg_options)  # for who tells how to resume
    check_types(cfg)
    cfg.launcher = args.launcher
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.deterministic:
        cfg.randomness = dict(cfg.get('randomness') or {}, deterministic=True)
        # cuBLAS asks for it, and mmengine does not set it.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    cfg.work_dir = (
        args.work_dir
        or cfg.get('work_dir')
        or str(Path('work_dirs') / Path(args.config).stem)
    )
    return cfg


def _check_gpus() -> None:
    """Raise unless there is a GPU for this process."""
    needed = int(os.environ.get('LOCAL_RANK', 0)) + 1
    if needed > torch.cuda.device_count():
        raise ValueError(
            f'at least {needed} processes were started on a machine with '
            f'{torch.cuda.device_count()} GPUs: start one per GPU, or set '
            'CUDA_VISIBLE_DEVICES= for processes on the CPU'
        )


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config, on GPUs or on CPU processes.

    ``load_from`` may also name the folder of a training run.

    mmengine selects a CUDA device at every distributed start and hands DDP a
    device id. Without a GPU the process group is therefore started here, with
    gloo, and DDP told to stay on the CPU.
    """
    if cfg.launcher == 'slurm':
        take_slurm_variables()
        cfg.launcher = 'pytorch'  # the host's own would always want a GPU
    if cfg.launcher != 'none':
        end_with_launcher()
    end_children_with_process()
    if cfg.launcher != 'none' and torch.cuda.is_available():
        _check_gpus()
    elif cfg.launcher != 'none':
        if not dist.is_initialized():
            dist.init_process_group('gloo')
        cfg.setdefault(
            'model_wrapper_cfg',
            dict(
                type='MMDistributedDataParallel',
                broadcast_buffers=False,
                find_unused_parameters=cfg.get(
                    'find_unused_parameters', False
                ),
            ),
        )
        cfg.model_wrapper_cfg.device_ids = None
    os.environ.setdefault('LOCAL_RANK', '0')
    # What the host downloads it would unpickle, whatever that does, and
    # whatever the environment said before.
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    if cfg.get('load_from') and '://' not in cfg.load_from:
        cfg.load_from = find_checkpoint(cfg.load_from)
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def leave_process_group() -> None:
    """End the process group of a job that is done.

    Without it gloo's threads may free their last tensors while Python shuts
    down, which aborts the process (torch 2.11), and with it the job. A job
    that failed must not call it: others may still be waiting for it.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
