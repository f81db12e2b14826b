"""Embed class names with CLIP's text tower: the words a detector knows.

METHOD is a set of sentences that names are put into (vild: 63, cleaned names;
detpro: 74, raw names; photo: one; none: the bare name), or

  learned   the learned prompts given with --prompt, ensembled (DetPro)
  convert   no CLIP at all: FILE is class embeddings of another project
            (DetPro, OADP, ViLD, Detic, RegionCLIP, BARON), rows in the order
            of the classes, and gets their names

Writes data/DATASET/prompt/METHOD.pth, or the file given with --out. What is
there already with the same classes, CLIP and settings is reused.
"""

import argparse

EXAMPLES = """examples:
  python tools/class_embeddings.py vild
  python tools/class_embeddings.py detpro --dataset lvis_v1
  python tools/class_embeddings.py vild --dataset lvis_v1 --pretrained RN50
  python tools/class_embeddings.py photo \\
      --classes "red fox, snow leopard" --out work_dirs/zoo.pth
  python tools/class_embeddings.py learned --dataset voc \\
      --prompt pos56_prompt.pth pos67_prompt.pth pos78_prompt.pth
  python tools/class_embeddings.py convert iou_neg5_ens.pth \\
      --dataset lvis_v1"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'method',
        nargs='?',
        default='vild',
        help='vild, detpro, photo, none, learned or convert; default: vild',
    )
    parser.add_argument(
        'file', nargs='?', help='the file to convert, with convert alone'
    )
    parser.add_argument(
        '--dataset',
        help='coco, lvis_v1, voc, objects365 (v2), objects365_v1 or '
        'miniature: its class names, CLIP and folder (default: coco; convert '
        'asks for one, or for other names)',
    )
    parser.add_argument(
        '--classes', help='class names with commas between them'
    )
    parser.add_argument(
        '--classes-file', metavar='FILE', help='one class name per line'
    )
    parser.add_argument(
        '--ann-file',
        metavar='FILE',
        help='COCO or LVIS annotation file to take the class names from',
    )
    parser.add_argument(
        '--pretrained',
        metavar='CLIP',
        help='RN50, ViT-B/16, ... or a file, or open_clip:NAME/TAG or '
        'open_clip:NAME/FILE (default: ViT-B/32; miniature: '
        'pretrained/clip/miniature.pt)',
    )
    parser.add_argument('--out', metavar='FILE', help='file to write (.pth)')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace a file of other classes, CLIP or settings',
    )
    # None where not given: `convert` takes none of these
    parser.add_argument(
        '--prompt',
        dest='prompts',
        nargs='+',
        action='extend',
        metavar='FILE',
        help='learned prompts, with learned alone',
    )
    parser.add_argument(
        '--synonyms',
        action='store_true',
        default=None,
        help="average each name with its synonyms in LVIS's annotations",
    )
    parser.add_argument(
        '--precision', help='fp32, or the faster bf16 or fp16 (default: fp32)'
    )
    parser.add_argument(
        '--transposed',
        action='store_true',
        default=None,
        help='columns and not rows are classes, with convert alone; needed '
        'where the shape and the norms fit both',
    )
    parser.add_argument(
        '--background',
        help='first or last: which of one row more than classes is that of '
        'the background, with convert alone (default: last)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from ovd.apis.run_class_embeddings import run_class_embeddings
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        run_class_embeddings(**vars(args))


if __name__ == '__main__':
    main()
