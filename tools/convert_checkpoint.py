"""Convert weights of other projects to checkpoints that the configs load.

IN is one of
  detpro       ViLD* or DetPro, Mask R-CNN or Cascade, of dyabel/detpro
  oadp         ViLD or OADP of LutingWang/OADP
  soco         SoCo with FPN and box head, as mmdet 2.x loads it
  mmdet        a detector or an RPN of mmdet 2.x or 3.x
  torchvision  a ResNet of torchvision

in a file of torch.save or in safetensors, which is told from its keys. Each
key is mapped, dropped for a reason that is printed, or an error that names
it, and the config for the result is named. Nothing that IN says is executed.
"""

import argparse
import sys

EXAMPLES = """examples:
  python tools/convert_checkpoint.py pretrained/detpro/detpro.pth \\
      work_dirs/detpro/detpro.pth
  python tools/convert_checkpoint.py --form oadp iter_32000.pth \\
      work_dirs/oadp/vild.pth"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('file', metavar='IN', help='weights to convert')
    parser.add_argument('out', metavar='OUT', help='checkpoint to write')
    parser.add_argument(
        '--form',
        default='auto',
        help='what IN is, one of the names above; one that its keys do not '
        'fit is an error (default: auto)',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace OUT if it exists'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.apis.convert_checkpoint import convert_checkpoint
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        convert_checkpoint(**vars(args))


if __name__ == '__main__':
    main()
