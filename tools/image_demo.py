"""Detect whatever words are given, and draw it.

Pictures, or a video, show boxes, masks and names, a colour for each name.
"""

import argparse
import sys
from typing import List, Optional

from ovd.user_errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='''exit code: 0 if all is well, 1 if files could not be read,
which are named and passed over, 2 on a wrong argument

example:
  python tools/image_demo.py data/miniature/val/000001.png \\
      configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py \\
      work_dirs/miniature/vild-ensemble \\
      --texts "red circle, striped blue star"''',
    )
    parser.add_argument(
        'image',
        help='image file, folder of images, pattern in quotes, or video',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint, or the work folder of a training run: its last one',
    )
    names = parser.add_mutually_exclusive_group()
    names.add_argument(
        '--texts',
        help='class names, separated by commas; default: those that the '
        'config names',
    )
    names.add_argument(
        '--texts-file', metavar='FILE', help='text file, a name per line'
    )
    names.add_argument(
        '--vocabulary',
        metavar='DATASET',
        help='the names of a data set: coco, lvis_v1, voc, objects365, ...',
    )
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='defaults to 0.3'
    )
    parser.add_argument(
        '--out-dir',
        default='work_dirs/image_demo',
        help='folder of the pictures',
    )
    parser.add_argument(
        '--coco-json',
        metavar='FILE',
        help='write what is drawn as a COCO dataset with scores, too',
    )
    parser.add_argument(
        '--show-masks',
        action=argparse.BooleanOptionalAction,
        help='tint masks; default: where the detector makes them',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=4,
        help='images that are detected together; defaults to 4',
    )
    parser.add_argument(
        '--device', default='auto', help='defaults to a GPU if there is one'
    )
    return parser.parse_args()


def choose_names(
    texts: Optional[str], texts_file: Optional[str], vocabulary: Optional[str]
) -> Optional[List[str]]:
    """Return the names that the user asks for, None for the config's."""
    from ovd.apis import class_names

    if texts is not None:
        return class_names.split_class_names(texts)
    if texts_file is not None:
        return class_names.read_class_names(texts_file)
    if vocabulary is not None:
        return class_names.dataset_class_names(vocabulary)
    return None


@one_line_errors()
def main() -> None:
    options = vars(parse_args())
    texts = choose_names(
        *(options.pop(key) for key in ('texts', 'texts_file', 'vocabulary'))
    )
    from ovd.apis.image_demo import detect_and_draw

    if detect_and_draw(texts=texts, **options).passed_over:
        sys.exit(1)


if __name__ == '__main__':
    main()
