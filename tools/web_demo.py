"""A page to drop images on and to type names in, with boxes and masks.

It is for the visitors of one machine, and needs no network; its address is
printed. Needs Gradio: pip install -e '.[demo]'
"""

import argparse

from ovd.user_errors import one_line_errors

EXAMPLE = """example:
  python tools/web_demo.py \\
      configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py \\
      work_dirs/miniature/vild-ensemble"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint, or the work folder of a training run: its last one',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen at; 0.0.0.0 lets all machines of the network '
        'in, who need no password (default: %(default)s, this machine alone)',
    )
    parser.add_argument(
        '--port', type=int, default=7860, help='default: %(default)s'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='least score at first (default: %(default)s)',
    )
    parser.add_argument(
        '--max-names',
        type=int,
        default=2000,
        help='most names at once (default: %(default)s)',
    )
    parser.add_argument(
        '--max-megabytes',
        type=float,
        default=20,
        help='largest file (default: %(default)s)',
    )
    parser.add_argument(
        '--max-megapixels',
        type=float,
        default=25,
        help='largest image, in millions of pixels (default: %(default)s)',
    )
    parser.add_argument(
        '--device', default='auto', help='defaults to a GPU if there is one'
    )
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    options = vars(parse_args())
    from ovd.apis.web.limits import Limits
    from ovd.apis.web.server import run_web_demo

    limits = Limits(
        *(
            options.pop(f'max_{what}')
            for what in ('names', 'megabytes', 'megapixels')
        )
    )
    run_web_demo(limits=limits, **options)


if __name__ == '__main__':
    main()
