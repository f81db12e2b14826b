"""Print the metrics of several test runs as one table."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/compare_results.py '
        'ViLD-text=a.json ViLD-ensemble=b.json --out results.json',
    )
    parser.add_argument(
        'files',
        nargs='+',
        metavar='METHOD=JSON',
        help='what tools/test.py --metrics wrote',
    )
    parser.add_argument('--out', required=True, help='JSON of all methods')
    parser.add_argument(
        '--note', action='append', default=[], help='a line below the table'
    )
    args = parser.parse_args()
    wrong = [item for item in args.files if '=' not in item]
    if wrong:
        parser.error(f'expected METHOD=JSON, got {", ".join(wrong)}')
    return args


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.evaluation.compare import compare
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        compare(
            dict(item.split('=', 1) for item in args.files),
            args.out,
            args.note,
        )


if __name__ == '__main__':
    main()
