"""Convert proposals of other programs, and check that boxes fit their images.

IN is one of
  a list of arrays (P, 5), as mmdet 2.x writes it (.pkl), which does not say
  whose boxes they are: --ann-file and --order do
  a dict "<folder>/<file>" -> boxes, as mmdet 3.x writes it (.pkl)
  proposals of this project (.pkl or .safetensors)

OUT is .pkl, which mmdet 3.x reads, or .safetensors, which is read faster.
Nothing that a .pkl says is executed.
"""

import argparse
import sys

EXAMPLES = """examples:
  python tools/convert_proposals.py rpn_r101_fpn_lvis_v1_train.pkl \\
      data/lvis_v1/proposals/rpn_r101_fpn_lvis_v1_train.safetensors \\
      --ann-file data/lvis_v1/annotations/lvis_v1_train.json
  python tools/convert_proposals.py oln_r50_fpn_coco_train.pkl \\
      data/coco/proposals/oln_r50_fpn_coco_train.pkl --order id \\
      --ann-file data/coco/annotations/instances_train2017.json"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('file', metavar='IN', help='proposals to convert')
    parser.add_argument('out', metavar='OUT', help='file to write')
    parser.add_argument(
        '--ann-file',
        required=True,
        metavar='FILE',
        help='COCO or LVIS annotation file that they were made for',
    )
    parser.add_argument(
        '--order',
        default='auto',
        help="of a list: file (that of the annotation file's images: mmdet), "
        'id (of ascending ids: OADP, OLN) or auto, the one in which all boxes '
        'lie in their images (default: auto)',
    )
    parser.add_argument(
        '--folder',
        help='folder of the images, such as train2017; default: that of '
        '`file_name` or `coco_url` in the annotation file',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.apis.convert_proposals import convert_proposals
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        convert_proposals(**vars(args))


if __name__ == '__main__':
    main()
