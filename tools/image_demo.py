"""Detect whatever words are given, and draw it."""
import argparse

from ovd.apis.class_names import split_class_names
from ovd.apis.image_demo import detect_and_draw
from ovd.user_errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/image_demo.py '
        'data/miniature/val/000001.png '
        'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py '
        'work_dirs/miniature/vild-ensemble '
        '--texts "red circle, striped blue star"')
    parser.add_argument(
        'image', help='image file, folder of images, or pattern in quotes')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint, or the work folder of a training run: its last one')
    parser.add_argument(
        '--texts',
        help='class names, separated by commas; default: those that the '
        'config names')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='defaults to 0.3')
    parser.add_argument(
        '--out-dir',
        default='work_dirs/image_demo',
        help='folder of the pictures')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    detect_and_draw(args.image, args.config, args.checkpoint,
                    None if args.texts is None else split_class_names(
                        args.texts), args.score_thr, args.out_dir)


if __name__ == '__main__':
    main()
