"""Test a checkpoint: print its metrics, or dump what it predicts."""

import argparse

from ovd.engine.broken_images import watch_images
from ovd.engine.build_errors import explained_builds
from ovd.engine.checkpoints import find_checkpoint
from ovd.engine.launch import (
    add_common_arguments,
    build_runner,
    leave_process_group,
    load_config,
)
from ovd.engine.testing import (
    check_weights,
    set_class_embeddings,
    set_out_file,
    set_report_dir,
    write_metrics,
)
from ovd.user_errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/test.py '
        'configs/miniature/rpn_r18_fpn_miniature_train.py '
        'work_dirs/miniature/rpn --out '
        'data/miniature/proposals/rpn_train_48_17.safetensors',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint, or the work folder of a training run: its last one',
    )
    parser.add_argument(
        '--out', help='keep the predictions: proposals, or COCO json'
    )
    parser.add_argument(
        '--class-embeddings',
        metavar='FILE',
        help='names, or what CLIP makes of them, in place of those of the '
        'config: a file of tools/class_embeddings.py',
    )
    parser.add_argument(
        '--metrics', metavar='JSON', help='write the metrics to this file'
    )
    parser.add_argument(
        '--skip-broken',
        action='store_true',
        help='record images that cannot be used in the work folder, and '
        'count them as images in which nothing was found',
    )
    add_common_arguments(parser)
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = find_checkpoint(args.checkpoint)
    set_class_embeddings(cfg, args.class_embeddings)
    set_out_file(cfg, args.out)
    set_report_dir(cfg)
    watch_images(cfg, args.skip_broken)
    with explained_builds(cfg):
        runner = build_runner(cfg)
        check_weights(cfg, runner.model)
        metrics = runner.test()
    if args.metrics:
        write_metrics(metrics, args.metrics)
    leave_process_group()


if __name__ == '__main__':
    main()
