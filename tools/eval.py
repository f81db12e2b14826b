"""Evaluate predictions that tools/test.py --out kept, without a model."""

import argparse

from ovd.engine.launch import add_config_arguments, load_config
from ovd.engine.testing import set_report_dir, write_metrics
from ovd.user_errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/eval.py '
        'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py '
        'work_dirs/miniature/predictions.json '
        '--cfg-options +test_evaluator.engine=pycocotools',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('predictions', help='COCO json of predictions')
    parser.add_argument(
        '--metrics', metavar='JSON', help='write the metrics to this file'
    )
    add_config_arguments(parser)
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    from ovd.evaluation.offline import evaluate_file

    cfg = load_config(args)
    set_report_dir(cfg)
    metrics = evaluate_file(cfg, args.predictions)
    if args.metrics:
        write_metrics(metrics, args.metrics)


if __name__ == '__main__':
    main()
