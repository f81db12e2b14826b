"""Bring your own dataset: check it, split its classes, write its configs.

Takes any COCO-format file with boxes. Images, sizes, boxes and class names are
checked before anything is written. Then it writes the split, the configs of
each step from an RPN to ViLD, and prints the commands that come next.
"""

import argparse
import sys
from pathlib import Path

EXAMPLES = """examples:
  python tools/new_dataset.py data/street/annotations/train.json \\
      --val data/street/annotations/val.json --novel "bus, dog"
  python tools/new_dataset.py ~/zoo/all.json --val-fraction 0.2 \\
      --images ~/zoo/photos --name zoo --split zoo_classes.json"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('annotations', help='COCO-format file to train on')
    names = parser.add_mutually_exclusive_group(required=True)
    names.add_argument(
        '--novel',
        metavar='NAMES',
        help='novel classes, with commas between them; all others are base',
    )
    names.add_argument(
        '--split',
        help='FILE.json with {"base": [names], "novel": [names], "groups": '
        '{name: [names]}}, or 48_17 or 65_15 for the names of COCO',
    )
    val = parser.add_mutually_exclusive_group()
    val.add_argument(
        '--val',
        metavar='FILE',
        help='COCO-format file to validate on (default: the same file)',
    )
    val.add_argument(
        '--val-fraction',
        type=float,
        metavar='F',
        help='validate on this share of the images and train on the others',
    )
    parser.add_argument(
        '--images',
        metavar='FOLDER',
        help='folder of the images, or one above (default: looked for near '
        'the annotations)',
    )
    parser.add_argument(
        '--name', help='of the dataset (default: that of the folder it is in)'
    )
    parser.add_argument(
        '--out-dir',
        metavar='FOLDER',
        help='folder of the configs (default: configs/NAME)',
    )
    parser.add_argument(
        '--pretrained',
        default='ViT-B/32',
        metavar='CLIP',
        help='see tools/class_embeddings.py (default: ViT-B/32)',
    )
    parser.add_argument(
        '--check-images',
        type=int,
        default=1000,
        metavar='N',
        help='images of each file to open, evenly spread; 0 for all '
        '(default: 1000)',
    )
    parser.add_argument(
        '--force', action='store_true', help='replace files that are there'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.apis.new_dataset import new_dataset
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        new_dataset(**vars(args), tools=Path(sys.argv[0]).parent)


if __name__ == '__main__':
    main()
