"""Export the weights of a checkpoint as safetensors.

The file is smaller than the checkpoint, holds no pickle, and stands wherever
a checkpoint may: in tools/test.py, tools/image_demo.py and load_from.
"""

import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example:\n  python tools/export_weights.py '
        'work_dirs/miniature/vild-ensemble work_dirs/vild.safetensors',
    )
    parser.add_argument(
        'checkpoint', help='a checkpoint, or the folder of a run'
    )
    parser.add_argument('out', metavar='OUT.safetensors')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace OUT if it exists'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from ovd.apis.export_weights import export_weights
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        out = export_weights(**vars(args))
    print(f'the weights are in {out}')


if __name__ == '__main__':
    main()
