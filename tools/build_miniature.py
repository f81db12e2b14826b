"""Render the miniature world: scenes, annotations and crops for CLIP."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/build_miniature.py data/miniature '
        '(files that are there already are kept)',
    )
    parser.add_argument(
        'root', nargs='?', default='data/miniature', help='folder to fill'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of all scenes'
    )
    parser.add_argument(
        '--num-train', type=int, default=1200, help='training scenes'
    )
    parser.add_argument(
        '--num-val', type=int, default=250, help='validation scenes'
    )
    parser.add_argument(
        '--num-crops', type=int, default=16000, help='captioned crops'
    )
    parser.add_argument(
        '--num-heldout-crops',
        type=int,
        default=2000,
        help='crops to measure zero-shot accuracy on',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.datasets.miniature import write_world
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        write_world(**vars(args))


if __name__ == '__main__':
    main()
