"""Verify a store of proposal embeddings, or look into it.

COMMAND is one of

  verify   read every byte: which shards are missing, cut off, changed or of
           another store, which images could not be read
  stat     what made it, how many boxes of which kinds, bytes; no embedding
           is read
  get      print the boxes of an IMAGE with their scores, kinds and the norms
           of their embeddings; --out writes all of it

exit code:
  0  the store is complete and sound
  1  a shard is missing or damaged
  2  an option, a store or an image that does not exist
"""

import argparse
import sys

EXAMPLES = """examples:
  python tools/embedding_store.py verify \\
      data/coco/proposal_embeddings/ViT-B-32
  python tools/embedding_store.py verify --remove \\
      data/coco/proposal_embeddings/ViT-B-32
  python tools/embedding_store.py get \\
      data/coco/proposal_embeddings/ViT-B-32 000000000139.jpg --out a.npz"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', help='verify, stat or get')
    parser.add_argument('store', help='folder of the store')
    parser.add_argument(
        'image',
        nargs='?',
        help='id, "<folder>/<file>" or file name, with get alone',
    )
    parser.add_argument(
        '--remove',
        action='store_true',
        help='remove damaged shards, so that the next run computes them; '
        'with verify alone',
    )
    parser.add_argument(
        '--retry-broken',
        action='store_true',
        help='remove shards with images that could not be read, so that the '
        'next run tries again; with verify alone',
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='file to write embeddings, bboxes, scores and kinds to (.npz); '
        'with get alone',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    sys.modules.setdefault('mmdet', None)  # slow, and not needed here
    from ovd.apis.run_embedding_store import run_embedding_store
    from ovd.user_errors import one_line_errors

    with one_line_errors():
        good = run_embedding_store(**vars(args))
    sys.exit(0 if good else 1)


if __name__ == '__main__':
    main()
