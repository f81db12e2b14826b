"""Split a generated file of LVIS's size: our splitter against plain json.

The file has the numbers of LVIS v1 train: 100,170 images, 1,270,141
annotations with polygons, 1,203 categories. Each way runs in a process of its
own. `speedup` compares the jobs, from the source on disk to the result on
disk, ours with its checks, digests and fsync; `speedup_of_processes` compares
all that a user waits for, start and imports included. Memory is the process's
peak resident set (VmHWM of Linux): the interpreter, torch and mmdet, which
`import ovd` brings, and the pages of the mapped source count. These 0.8 GB
weigh more with a smaller --scale. The last line is JSON.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, TextIO

import msgspec

ROOT = Path(__file__).resolve().parents[2]
SPLIT = '866_337'
IMAGES, RARE_ANNOTATIONS, ANNOTATIONS = 100_170, 5_257, 1_270_141
BASE, NOVEL = 866, 337
POLYGONS = 5000  # different ones; drawing each anew takes minutes

# What people write, and what the published rule needs: base annotations,
# then images that have one.
PLAIN = """
with open(sys.argv[1]) as file:
    data = json.load(file)
base = {c['id'] for c in data['categories'] if c['frequency'] != 'r'}
data['annotations'] = [
    a for a in data['annotations'] if a['category_id'] in base]
left = {a['image_id'] for a in data['annotations']}
data['images'] = [i for i in data['images'] if i['id'] in left]
with open(sys.argv[2], 'w') as file:
    json.dump(data, file)
"""
OURS_IMPORTS = 'from ovd.datasets.gzsl_split import split_file'
OURS = f"split_file(sys.argv[1], '{SPLIT}', 'train')"
# A process reads its own peak: getrusage of the parent gives the largest of
# all its children, and ru_maxrss of a child starts at the parent's.
CHILD = """
import json, re, sys, time
def status(field):
    text = open('/proc/self/status').read()
    return int(re.search(field + r':\\s+(\\d+) kB', text)[1]) * 1024
{imports}
before, start = status('VmRSS'), time.perf_counter()
{job}
print(json.dumps(dict(seconds=time.perf_counter() - start,
                      bytes_before=before, peak_bytes=status('VmHWM'))))
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example: python tools/benchmarks/build_zsl_dataset.py '
        '--scale 0.25',
    )
    parser.add_argument(
        '--scale',
        type=float,
        default=1,
        help='share of the images and annotations (default: 1; there the '
        'requirement is 12 times as fast and 2.6 times the file)',
    )
    parser.add_argument(
        '--folder',
        help='where a folder for the generated files is made, and removed '
        'at the end (default: where temporary files go); '
        'needs 3.5 GB at full size',
    )
    args = parser.parse_args()
    if not 0 < args.scale <= 1:
        parser.error(f'--scale must be in (0, 1], got {args.scale}')
    return args


def draw_polygons(rng: random.Random) -> list[str]:
    """Return segmentations as json; some have a second part."""
    found = []
    for _ in range(POLYGONS):
        parts = []
        for _ in range(1 + (rng.random() < 0.15)):
            # Few have many corners: the mean object has about 800 bytes
            corners = 4 + int(rng.lognormvariate(3.35, 0.8))
            x, y = rng.uniform(0, 600), rng.uniform(0, 440)
            parts.append(
                [
                    round(value + rng.uniform(0, 40), 2)
                    for _ in range(corners)
                    for value in (x, y)
                ]
            )
        found.append(json.dumps(parts))
    return found


def write_list(file: TextIO, name: str, objects: Iterator[str]) -> None:
    file.write(f'"{name}": [{next(objects)}')
    file.writelines(f', {item}' for item in objects)
    file.write(']')


def images(rng: random.Random, ids: list[int]) -> Iterator[str]:
    for image_id in ids:
        name = f'{image_id:012}.jpg'
        yield json.dumps(
            dict(
                date_captured='2013-11-15 02:41:42',
                neg_category_ids=rng.sample(range(1, BASE + NOVEL + 1), 12),
                id=image_id,
                license=rng.randint(1, 8),
                height=rng.randint(300, 640),
                width=rng.randint(300, 640),
                flickr_url='http://farm9.staticflickr.com/8186/'
                f'{image_id}_e7f2f6e0d5_z.jpg',
                coco_url=f'http://images.cocodataset.org/train2017/{name}',
                not_exhaustive_category_ids=rng.sample(range(1, 1204), 2),
            )
        )


def annotations(
    rng: random.Random, image_ids: list[int], number: int, rare: int
) -> Iterator[str]:
    """Yield objects in random order, like LVIS; ids from 1."""
    polygons = draw_polygons(rng)
    rare_ids = set(rng.sample(range(number), rare))
    for i in range(number):
        # Categories 1 to 337 are rare, see categories()
        cat_id = (
            rng.randint(1, NOVEL)
            if i in rare_ids
            else rng.randint(NOVEL + 1, NOVEL + BASE)
        )
        x, y = rng.randint(0, 59999) / 100, rng.randint(0, 43999) / 100
        yield (
            f'{{"area": {rng.randint(100, 999999) / 100}, "id": {i + 1}, '
            f'"segmentation": {rng.choice(polygons)}, "image_id": '
            f'{rng.choice(image_ids)}, "bbox": [{x}, {y}, 31.07, 40.5], '
            f'"category_id": {cat_id}}}'
        )


def categories() -> Iterator[str]:
    for i in range(1, BASE + NOVEL + 1):
        yield json.dumps(
            dict(
                image_count=i,
                synonyms=[f'thing_{i}', f'object_{i}'],
                # rng.choice above spares no thought for c against f
                frequency='r' if i <= NOVEL else 'cf'[i % 2],
                instance_count=i,
                name=f'thing_{i}',
                synset=f'thing.n.{i:02}',
                id=i,
                **{'def': 'what stands here is as long as in the real file'},
            )
        )


def generate(path: Path, scale: float) -> None:
    """Write the file; the same at every run."""
    rng = random.Random(0)
    image_ids = rng.sample(range(1, 581930), round(IMAGES * scale))
    with open(path, 'w') as file:
        file.write('{"info": {"year": 2020, "version": "v1.0"}, ')
        write_list(
            file,
            'annotations',
            annotations(
                rng,
                image_ids,
                round(ANNOTATIONS * scale),
                round(RARE_ANNOTATIONS * scale),
            ),
        )
        for name, objects in (
            ('images', images(rng, image_ids)),
            ('categories', categories()),
        ):
            file.write(', ')
            write_list(file, name, objects)
        file.write(', "licenses": []}')


def measure(imports: str, job: str, *arguments: Path) -> dict[str, float]:
    """Run a job in a new process; return its seconds and bytes."""
    start = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            CHILD.format(imports=imports, job=job),
            *map(str, arguments),
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    whole = time.perf_counter() - start
    return dict(
        json.loads(done.stdout.splitlines()[-1]), process_seconds=whole
    )


def run(folder: Path, scale: float) -> dict[str, float]:
    """Generate the file, split it both ways, compare the results."""
    source, plain = folder / 'lvis_train.json', folder / 'plain.json'
    generate(source, scale)
    size = source.stat().st_size
    print(f'{size / 1e9:.2f} GB generated', flush=True)
    os.sync()  # the generated file is not to be written while we measure
    found = {}
    for name, imports, job in (
        ('ours', OURS_IMPORTS, OURS),
        ('plain', '', PLAIN),
    ):
        row = found[name] = measure(imports, job, source, plain)
        print(
            f'{name:6}{row["seconds"]:8.2f} s, with start and imports '
            f'{row["process_seconds"]:8.2f} s; peak '
            f'{row["peak_bytes"] / 1e9:.2f} GB = '
            f'{row["peak_bytes"] / size:.2f} times the file, '
            f'{row["bytes_before"] / 1e9:.2f} GB of it before the job',
            flush=True,
        )
    check_same(plain, source.with_name(f'{source.stem}_{SPLIT}_1.json'))
    result = {
        f'{name}_{key}': round(value, 2)
        for name, row in found.items()
        for key, value in row.items()
    }
    ours, other = found['ours'], found['plain']
    return dict(
        result,
        file_bytes=size,
        speedup_of_processes=round(
            other['process_seconds'] / ours['process_seconds'], 2
        ),
        speedup=round(other['seconds'] / ours['seconds'], 2),
        peak_over_file=round(ours['peak_bytes'] / size, 3),
    )


def check_same(plain: Path, ours: Path) -> None:
    """Raise unless both ways wrote the same values."""
    # Raw objects: decoded, the two files would need 15 GB
    expected, got = (
        msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        for path in (plain, ours)
    )
    del got['gzsl']
    same = list(got) == list(expected)
    for name, raw in expected.items():
        kind = (
            list[msgspec.Raw] if name in ('images', 'annotations') else object
        )
        same = same and msgspec.json.decode(
            raw, type=kind
        ) == msgspec.json.decode(got[name], type=kind)
    if not same:
        raise RuntimeError('the two ways wrote different annotations')


def main() -> None:
    args = parse_args()
    if args.folder:
        Path(args.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        result = run(Path(folder), args.scale)
    print(
        f'{result["speedup"]} times as fast as json.load, filter, '
        f'json.dump; {result["speedup_of_processes"]} times with start and '
        'imports'
    )
    print(json.dumps(result))


if __name__ == '__main__':
    main()
