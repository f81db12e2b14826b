"""Split the annotation files of a dataset into base and novel classes.

Training files keep base annotations alone, val files base and novel ones.
The files are written beside their source: STEM_SPLIT_K.json.
"""

import argparse
import signal
import sys
from types import FrameType
from typing import Optional

EXAMPLES = """examples:
  python tools/build_zsl_dataset.py \\
      configs/_base_/datasets/coco_detection.py --split 48_17
  python tools/build_zsl_dataset.py \\
      configs/_base_/datasets/miniature_instance.py \\
      --split data/miniature/annotations/48_17.json
  python tools/build_zsl_dataset.py \\
      --verify data/coco/annotations/instances_train2017_48_17_1.json"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'config',
        nargs='?',
        help='dataset config that names the files to split',
    )
    parser.add_argument(
        '--split',
        help='48_17 or 65_15 (COCO), 866_337 (LVIS v1), 776_454 (LVIS v0.5; '
        'LVIS val files need no split), or FILE.json with '
        '{"base": [names], "novel": [names], "groups": {name: [names]}}',
    )
    parser.add_argument(
        '--min-annotations',
        type=int,
        default=1,
        metavar='K',
        help='keep images with at least K annotations left; 0 keeps all '
        '(default: 1, as in the published files)',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace files of another split or source',
    )
    parser.add_argument(
        '--verify',
        nargs='+',
        metavar='FILE',
        help='check that split files do not leak, and write nothing; ends '
        'with code 1 if one of them is not sound',
    )
    args = parser.parse_args()
    if args.verify and args.config:
        parser.error('--verify takes split files and no config')
    if not args.verify and not (args.config and args.split):
        parser.error('give a dataset config and --split, or --verify FILE')
    return args


def terminate(number: int, frame: Optional[FrameType]) -> None:
    """End as after Ctrl-C, so that no half of a file is left."""
    raise KeyboardInterrupt(number)


def main() -> None:
    args = parse_args()
    previous = signal.signal(signal.SIGTERM, terminate)
    if args.verify:
        sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.datasets.gzsl_report import run_split, run_verify
    from ovd.user_errors import one_line_errors

    sound = True
    try:
        with one_line_errors():
            if args.verify:
                sound = run_verify(args.verify)
            else:
                run_split(
                    args.config,
                    args.split,
                    args.min_annotations,
                    args.overwrite,
                )
    except KeyboardInterrupt as error:
        print(
            'interrupted: the file being written is removed, those '
            'written before are whole',
            file=sys.stderr,
        )
        number = error.args[0] if error.args else signal.SIGINT
        sys.exit(128 + number)  # as shells have it: 130 or 143
    finally:
        signal.signal(signal.SIGTERM, previous)
    if not sound:
        sys.exit(1)


if __name__ == '__main__':
    main()
