"""Print what is in data/ and pretrained/, and how to get what is missing.

Nothing is written. Without a name, all datasets are shown; those of which
nothing is there are one line each and no fault.

exit code:
  0  all that the datasets require (images and annotations) is there
  1  something required is missing, or something is damaged or incomplete
  2  an option, dataset or folder that does not exist
"""

import argparse
import sys

EXAMPLES = """examples:
  python tools/check_data.py
  python tools/check_data.py coco lvis_v1
  python tools/check_data.py miniature --root ~/experiment"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'names',
        nargs='*',
        metavar='DATASET',
        help='coco, lvis_v1, lvis_v0.5, miniature, voc, objects365, '
        'objects365_v1 or pretrained (the weights); default: all',
    )
    parser.add_argument(
        '--root',
        default='.',
        metavar='FOLDER',
        help='folder that holds data/ and pretrained/ (default: this one)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.apis.check_data import check_data
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        good = check_data(args.names, args.root)
    sys.exit(0 if good else 1)


if __name__ == '__main__':
    main()
