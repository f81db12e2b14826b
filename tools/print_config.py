"""Print a config as it is in the end: each entry, and its file."""

import argparse

from ovd.user_errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/print_config.py '
        'configs/miniature/rpn_r18_fpn_miniature.py '
        '--cfg-options train_cfg.max_iters=100',
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='override entries of the config; +KEY=VALUE adds one',
    )
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    args = parse_args()
    from ovd.apis.print_config import config_lines

    for line in config_lines(args.config, args.cfg_options):
        print(line)


if __name__ == '__main__':
    main()
