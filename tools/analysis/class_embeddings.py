"""Show which classes lie close to each other in class embeddings.

Prints the pairs of a novel and a base class that a detector will confuse,
draws the cosines between all classes, and writes the nearest classes of each
novel class. With a second file, says how far the two agree: templates, CLIPs,
learned prompts against fixed ones.

writes to the folder:
  heat_map.png    the cosines, base classes first, like ones together
  neighbours.csv  the nearest base and novel class of each novel class
  agreement.png   cosines of the one file by those of the other
  agreement.csv   the nearest class of each class in the one and the other
"""

import argparse
import sys

EXAMPLES = """examples:
  python tools/analysis/class_embeddings.py data/coco/prompt/vild.pth \\
      --split 48_17
  python tools/analysis/class_embeddings.py data/coco/prompt/vild.pth \\
      data/coco/prompt/detpro.pth --split 48_17
  python tools/analysis/class_embeddings.py data/lvis_v1/prompt/vild.pth \\
      --split 866_337 --ann-file data/lvis_v1/annotations/lvis_v1_val.json
  python tools/analysis/class_embeddings.py data/zoo/prompt/vild.pth \\
      --split zoo.json"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('file', help='class embeddings (.pth)')
    parser.add_argument(
        'other',
        nargs='?',
        metavar='file2',
        help='class embeddings to compare them with, of any CLIP',
    )
    parser.add_argument(
        '--split',
        help='which classes are base and novel: 48_17, 65_15, 866_337 or '
        '776_454 (these two with --ann-file), or a JSON file '
        '{"base": [names], "novel": [names]}',
    )
    parser.add_argument(
        '--ann-file',
        metavar='FILE',
        help='annotation file whose categories --split is of; without '
        '--split, a file that tools/build_zsl_dataset.py wrote, with the '
        'base and novel classes that it says',
    )
    parser.add_argument(
        '--top',
        type=int,
        default=20,
        metavar='N',
        help='how many of the closest pairs to print (default: 20)',
    )
    parser.add_argument(
        '--out-dir',
        metavar='FOLDER',
        help='folder of pictures and tables '
        '(default: work_dirs/class_embeddings/FILE without .pth)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.apis.class_embedding_report import analyse_class_embeddings
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        analyse_class_embeddings(**vars(args))


if __name__ == '__main__':
    main()
