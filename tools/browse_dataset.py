"""Draw the annotations of a dataset, base classes blue and novel orange.

Shown is what training or evaluation sees: files without novel boxes have
none in the pictures. Crowd regions have dashed boxes. By default images are
drawn as they are, each once; --augmented draws what the config's pipeline
makes of them.
"""

import argparse

EXAMPLES = """examples:
  python tools/browse_dataset.py \\
      configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py \\
      --subset test
  python tools/browse_dataset.py \\
      configs/_base_/datasets/coco_detection.py --number 50 --cfg-options \\
      train_dataloader.dataset.ann_file=\\
annotations/instances_train2017_48_17_1.json"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config that names the dataset')
    parser.add_argument(
        '--subset',
        default='train',
        help='train, val or test: which dataloader of the config '
        '(default: train)',
    )
    parser.add_argument(
        '--number',
        type=int,
        default=20,
        metavar='N',
        help='images to draw, evenly spread over the dataset; 0 for all '
        '(default: 20)',
    )
    parser.add_argument(
        '--augmented',
        action='store_true',
        help="draw what comes out of the config's pipeline",
    )
    parser.add_argument(
        '--out-dir',
        default='work_dirs/browse_dataset',
        help='folder of the pictures, IMAGE.png '
        '(default: work_dirs/browse_dataset)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help="seed of the pipeline's randomness (default: 0)",
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='override entries of the config; +KEY=VALUE adds one',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from ovd.apis.browse_dataset import browse_dataset
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        browse_dataset(**vars(args))


if __name__ == '__main__':
    main()
