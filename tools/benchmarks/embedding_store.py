"""Measure the store of proposal embeddings against plain memory-mapped files.

The store that is read has the shape of a large one (20 shards of 500 images
with 1,000 boxes of 512 numbers: 10 GB), but its arrays are holes in sparse
files. Random images are read from it, and as many bytes from one plain
`np.memmap` as sparse; all of both is copied. Another store has as many images
as COCO train and 2,000 shards, to be opened and compared with the images of a
training set. Prints a line per part, and JSON last: `read_over_mmap` (how
many times as long, pages touched first or again, whichever is worse),
`bytes_over_payload` (bytes on disk over those of float16 embeddings, boxes and
scores), `int8_min_cosine` (of vectors before and after), `open_seconds`,
`coverage_seconds`, and `poll_seconds` (of a writer that looks for shards).
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple, Union

import numpy as np
from tqdm import tqdm

PathLike = Union[str, Path]
EMBED_DIMS = 512
COCO_IMAGES, MANY_SHARDS = 118_287, 2000
# The largest number in CLIP's class embeddings of LVIS (ViT-B/32)
LARGEST = 0.64


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/embedding_store.py '
        '--reads 1000',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--shards', type=int, default=20)
    parser.add_argument('--images', type=int, default=500, help='per shard')
    parser.add_argument('--boxes', type=int, default=1000, help='per image')
    parser.add_argument(
        '--reads', type=int, default=400, help='of different images'
    )
    parser.add_argument(
        '--many-images',
        type=int,
        default=COCO_IMAGES,
        help='of the store that is opened',
    )
    parser.add_argument(
        '--folder',
        help='where a folder for the generated files is made, and removed '
        'at the end (default: where temporary files go); needs 60 MB and a '
        'file system with sparse files',
    )
    args = parser.parse_args()
    for name in ('shards', 'images', 'boxes', 'reads', 'many_images'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be positive')
    return args


def make_plan(num_images: int, images_per_shard: int):
    """Return the plan of a store of images 1 to ``num_images``."""
    from ovd.artifacts.store_plan import StorePlan

    ids = range(1, num_images + 1)
    source = dict(file='generated', sha256='0' * 64)
    return StorePlan(
        clip=dict(name='generated', sha256='0' * 64),
        proposals=source,
        annotations=source,
        settings={},
        images_per_shard=images_per_shard,
        image_ids=list(ids),
        image_keys=[f'train2017/{i:012}.jpg' for i in ids],
    )


def write_sparse(
    path: Path, arrays: Dict[str, np.ndarray], info: dict
) -> None:
    """Write a file as the store does, but with holes for broadcast zeros."""
    from ovd.artifacts.tensor_file import encode_header, file_order

    with open(path, 'wb') as file:
        file.write(encode_header(arrays, info))
        for name in file_order(arrays):
            if arrays[name].strides[0]:
                file.write(arrays[name])
            else:
                file.seek(arrays[name].nbytes, 1)
        file.truncate()


def generate_store(
    folder: Path, num_images: int, images_per_shard: int, boxes: int
):
    """Fill a store with zeros that take no room; return it."""
    from ovd.artifacts.embedding_store import (
        EmbeddingStore,
        EmbeddingStoreWriter,
        shard_name,
    )

    plan = make_plan(num_images, images_per_shard)
    EmbeddingStoreWriter(folder, plan)
    digest, zero = plan.digest(), np.zeros(1)
    for shard in range(plan.num_shards):
        ids = np.array(plan.shard_image_ids(shard))
        rows = len(ids) * boxes
        arrays = {
            name: np.broadcast_to(zero.astype(dtype), shape)
            for name, dtype, shape in (
                ('embeddings', np.float16, (rows, EMBED_DIMS)),
                ('bboxes', np.float32, (rows, 4)),
                ('scores', np.float32, (rows,)),
                ('kinds', np.uint8, (rows,)),
            )
        }
        arrays['image_ids'] = ids
        arrays['offsets'] = np.arange(len(ids) + 1) * boxes
        write_sparse(
            folder / shard_name(shard),
            arrays,
            dict(plan=digest, shard=shard, sha256='', broken={}),
        )
    return EmbeddingStore(folder)


def measure_reading(
    folder: PathLike,
    shards: int = 20,
    images: int = 500,
    boxes: int = 1000,
    reads: int = 400,
) -> float:
    """Return the time of reading an image over that of a plain memmap.

    Args:
        folder (PathLike): Where temporary files are made.
        shards, images, boxes (int): Of the store: shards, images of each,
            boxes of each image.
        reads (int): How many images, chosen at random.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        store = generate_store(place / 'store', shards * images, images, boxes)
        size = sum(array.nbytes for array in store.get(1).values())
        with open(place / 'plain', 'wb') as file:
            file.truncate(shards * images * size)
        plain = np.memmap(
            place / 'plain', np.uint8, 'r', shape=(shards * images, size)
        )
        chosen = np.random.default_rng(0).permutation(shards * images)[:reads]

        def read_store(i: int) -> List[np.ndarray]:
            return [np.array(a) for a in store.get(i + 1).values()]

        ways = (read_store, lambda i: np.array(plain[i]))
        ratios = []
        for when in ('first', 'again'):
            ours, other = time_in_turn(ways, chosen.tolist(), when)
            ratios.append(ours / other)
            print(
                f'{when:6}{ours * 1e6:9.0f} us an image of '
                f'{size / 1e6:.2f} MB, plain memmap {other * 1e6:9.0f} us: '
                f'{ratios[-1]:.2f}',
                flush=True,
            )
    return max(ratios)


def time_in_turn(
    ways: Tuple[Callable, ...], images: List[int], when: str
) -> List[float]:
    """Return the median seconds of each way; who is first takes turns."""
    seconds: List[List[float]] = [[] for _ in ways]
    for turn, image in enumerate(
        tqdm(images, f'read ({when})', leave=False, disable=None)
    ):
        for i in range(len(ways)):
            way = (i + turn) % len(ways)
            start = time.perf_counter()
            ways[way](image)
            seconds[way].append(time.perf_counter() - start)
    return [statistics.median(found) for found in seconds]


def measure_bytes(
    folder: PathLike, images: int = 20, boxes: int = 1000
) -> float:
    """Return the bytes of a float16 store over those that it is for.

    That is 2 for each number of an embedding, 16 for its box and 4 for its
    score; the manifest counts, too.
    """
    from ovd.artifacts.embedding_store import EmbeddingStoreWriter

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        writer = EmbeddingStoreWriter(name, make_plan(images, 10))
        for shard in writer.missing_shards():
            writer.write_shard(
                shard,
                [
                    dict(
                        embeddings=rng.standard_normal((boxes, EMBED_DIMS)),
                        bboxes=rng.random((boxes, 4)),
                        scores=rng.random(boxes),
                    )
                    for _ in writer.plan.shard_image_ids(shard)
                ],
            )
        size = sum(path.stat().st_size for path in Path(name).iterdir())
    return size / (images * boxes * (2 * EMBED_DIMS + 20))


def measure_int8() -> float:
    """Return the least cosine of vectors with what int8 leaves of them."""
    from ovd.artifacts.store_shard import dequantise, quantise

    rng = np.random.default_rng(0)
    least = 1.0
    for size, largest in (
        (64, 0),
        (512, 0),
        (512, LARGEST),
        (768, 0),
        (1024, 0),
    ):
        vectors = rng.standard_normal((10_000, size))
        if largest:
            rest = np.linalg.norm(vectors[:, 1:], axis=1)
            vectors[:, 0] = rest * largest / np.sqrt(1 - largest**2)
        found = dequantise(*quantise(vectors)).astype(np.float64)
        cosines = (vectors * found).sum(1) / (
            np.linalg.norm(vectors, axis=1) * np.linalg.norm(found, axis=1)
        )
        least = min(least, cosines.min())
    return float(least)


def measure_opening(
    folder: PathLike, num_images: int = COCO_IMAGES
) -> Dict[str, float]:
    """Return the seconds that a store of many shards takes to be opened."""
    from ovd.artifacts.embedding_store import (
        EmbeddingStore,
        EmbeddingStoreWriter,
    )

    images_per_shard = -(-num_images // MANY_SHARDS)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        plan = generate_store(
            Path(name), num_images, images_per_shard, 1000
        ).manifest
        images = dict(zip(plan.image_ids, plan.image_keys))
        start = time.perf_counter()
        store = EmbeddingStore(name)
        opened = time.perf_counter()
        store.check_covers(images)
        covered = time.perf_counter()
        writer = EmbeddingStoreWriter(name, plan)
        writer.missing_shards()
        polled = time.perf_counter()
        writer.missing_shards()
        return dict(
            open_seconds=opened - start,
            coverage_seconds=covered - opened,
            poll_seconds=time.perf_counter() - polled,
        )


def main() -> None:
    args = parse_args()
    if args.folder:
        Path(args.folder).mkdir(parents=True, exist_ok=True)
    folder = args.folder or tempfile.gettempdir()
    result = dict(
        read_over_mmap=measure_reading(
            folder, args.shards, args.images, args.boxes, args.reads
        ),
        bytes_over_payload=measure_bytes(folder, boxes=args.boxes),
        int8_min_cosine=measure_int8(),
        **measure_opening(folder, args.many_images),
    )
    for name, value in result.items():
        print(f'{name:20}{value:10.5f}')
    print(
        json.dumps({name: round(value, 5) for name, value in result.items()})
    )


if __name__ == '__main__':
    main()
