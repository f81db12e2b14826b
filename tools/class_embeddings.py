"""Embed class names with CLIP's text tower: the words a detector knows.

Writes data/DATASET/prompt/TEMPLATES.pth, or the file given with --out. What
is there already with the same classes, CLIP and templates is reused.
"""
import argparse
import sys

EXAMPLES = """examples:
  python tools/class_embeddings.py vild --dataset coco
  python tools/class_embeddings.py detpro --dataset lvis_v1
  python tools/class_embeddings.py vild --dataset coco --pretrained RN50
  python tools/class_embeddings.py photo \\
      --classes "red fox, snow leopard" --out work_dirs/zoo.pth"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'templates',
        nargs='?',
        default='vild',
        help='vild (63 sentences, cleaned names), detpro (74, raw names), '
        'photo (one sentence) or none (the bare name); default: vild')
    parser.add_argument(
        '--dataset',
        help='coco, lvis_v1 or miniature: its class names, CLIP and folder '
        '(default: coco)')
    parser.add_argument(
        '--classes', help='class names with commas between them')
    parser.add_argument(
        '--classes-file', metavar='FILE', help='one class name per line')
    parser.add_argument(
        '--ann-file',
        metavar='FILE',
        help='COCO or LVIS annotation file to take the class names from')
    parser.add_argument(
        '--pretrained',
        metavar='NAME_OR_PATH',
        help='CLIP, such as RN50 or a file (default: ViT-B/32; miniature: '
        'pretrained/clip/miniature.pt)')
    parser.add_argument('--out', metavar='FILE', help='file to write (.pth)')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace a file of other classes, CLIP or templates')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from ovd.apis.class_embeddings import make_class_embeddings
    try:
        make_class_embeddings(**vars(args))
    except (ValueError, OSError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
