"""Run a config: train a model, or extract proposal embeddings."""

import argparse

from mmengine.dist import is_main_process

from ovd.engine.build_errors import explained_builds
from ovd.engine.dry_run import dry_run
from ovd.engine.launch import (
    add_common_arguments,
    build_runner,
    leave_process_group,
    load_config,
)
from ovd.engine.resuming import prepare_training
from ovd.engine.training import set_amp, set_auto_scale_lr
from ovd.user_errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/train.py '
        'configs/miniature/rpn_r18_fpn_miniature.py --resume',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from the last checkpoint of the work folder, if there is '
        'one, or from the given one',
    )
    parser.add_argument(
        '--skip-broken',
        action='store_true',
        help='record images that cannot be used, and go on without them',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='build everything, run two batches of each part, and tell the '
        'memory and the time of the whole job; keeps nothing',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch of all processes',
    )
    add_common_arguments(parser)
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    prepare_training(cfg, args.resume, args.skip_broken)
    set_amp(cfg, args.amp)
    set_auto_scale_lr(cfg, args.auto_scale_lr)
    with explained_builds(cfg):
        if args.dry_run:
            told = dry_run(cfg)
            if is_main_process():
                print(told)
        else:
            build_runner(cfg).train()
    leave_process_group()


if __name__ == '__main__':
    main()
