"""Say what a file of the project is and what made it, and check it.

It may be class embeddings (of ovd or another project), a learned prompt,
annotations (split or not), a split of class names, predictions, metrics of a
test run, proposals, a store of proposal embeddings (its folder, its
manifest.json or a shard), CLIP weights or a checkpoint. Nothing is written.

exit code:
  0  all files are known and sound
  1  one is missing, damaged, incomplete or unknown
  2  an option that does not exist
"""

import argparse
import sys

EXAMPLES = """examples:
  python tools/inspect_artifact.py data/coco/prompt/vild.pth
  python tools/inspect_artifact.py data/coco/proposal_embeddings/ViT-B-32
  python tools/inspect_artifact.py downloads/*"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'files', nargs='+', metavar='FILE', help='file, or folder of a store'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.apis.inspect_artifact import inspect_artifacts

    sys.exit(0 if inspect_artifacts(args.files) else 1)


if __name__ == '__main__':
    main()
