"""Draw losses and base/novel AP of one or several runs over iterations.

Reads vis_data/scalars.json, which every training writes: of a work folder,
where the parts of a resumed run are joined, or of a single time-stamped
folder. Thin lines are what was logged, thick ones its running mean; what
validations found is drawn as it is, base classes blue and novel ones orange.
"""

import argparse
import sys

EXAMPLES = """examples:
  python tools/analysis/plot_logs.py work_dirs/miniature/vild-ensemble
  python tools/analysis/plot_logs.py work_dirs/vild work_dirs/detpro \\
      --out work_dirs/vild_detpro.png
  python tools/analysis/plot_logs.py work_dirs/vild \\
      --keys images_per_s rois_per_s data_wait_share lr"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'folders',
        nargs='+',
        metavar='WORK_DIR',
        help="a run's work folder; its name is that in the legend",
    )
    parser.add_argument(
        '--out',
        default='work_dirs/plot_logs.png',
        metavar='PNG',
        help='picture to write (default: %(default)s)',
    )
    parser.add_argument(
        '--keys',
        nargs='+',
        metavar='KEY',
        help='what to draw: keys of the log, such as loss_cls, lr, '
        'images_per_s or bbox_AP50_novel (default: losses and base/novel AP)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.apis.plot_logs import plot_logs
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        plot_logs(**vars(args))


if __name__ == '__main__':
    main()
