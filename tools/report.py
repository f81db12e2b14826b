"""Write one HTML page about a run: accuracy, errors, pictures, curves, config.

It goes to WORK_DIR/report/index.html and needs no other file and no network.
What keeps the predictions that errors and pictures are of:
python tools/test.py CONFIG WORK_DIR --out WORK_DIR/predictions.json
"""

import argparse

from ovd.user_errors import one_line_errors

EXAMPLE = """example:
  python tools/report.py work_dirs/miniature/vild-ensemble \\
      --predictions work_dirs/miniature/predictions.json"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'work_dir', metavar='WORK_DIR', help='work folder of a training run'
    )
    parser.add_argument(
        '--predictions',
        metavar='JSON',
        help='what tools/test.py --out kept (default: predictions.json in '
        'the work folder)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='least score of detections in pictures and confusion matrix '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help="override entries of the run's config, such as paths of data "
        'that was moved',
    )
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    from ovd.apis.run_report import write_run_report

    write_run_report(**vars(args))


if __name__ == '__main__':
    main()
