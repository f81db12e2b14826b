"""The benchmark of proposal embeddings runs and compares."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Callable

import cv2
import numpy as np

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/proposal_embeddings.py'


def test_small(tmp_path: Path) -> None:
    (tmp_path / 'val').mkdir()
    rng = np.random.default_rng(0)
    for i in (1, 2):
        pixels = cv2.resize(
            rng.integers(0, 256, (6, 8, 3), np.uint8), (80, 60)
        )
        cv2.imwrite(str(tmp_path / f'val/{i}.png'), pixels)
    (tmp_path / 'val.json').write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.png', width=80, height=60)
                    for i in (1, 2)
                ],
                annotations=[
                    dict(
                        id=i, image_id=i, category_id=1, bbox=[10, 10, 30, 20]
                    )
                    for i in (1, 2)
                ],
                categories=[dict(id=1, name='cat')],
            )
        )
    )
    done = subprocess.run(
        [
            sys.executable,
            str(TOOL),
            '--ann-file',
            str(tmp_path / 'val.json'),
            '--image-folder',
            str(tmp_path / 'val'),
            '--images',
            '2',
            '--boxes',
            '4',
            '--rounds',
            '1',
            '--layers',
            '1',
            '--seconds',
            '0.01',
            '--no-compiled',
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    for name in ('of_encoder', 'over_peer_way', 'of_peak'):
        assert result[name] > 0
    assert result['cosine_worst'] > 0.99
    assert 0 < result['write_share'] < 1
    assert 1 <= result['bytes_over_payload'] < 1.03
    assert result['read_over_mmap'] > 0


def test_bad_number(run_tool: Callable) -> None:
    done = run_tool(
        TOOL, '--ann-file', 'a', '--image-folder', 'b', '--boxes', '0'
    )
    assert done.returncode == 2 and '--boxes must be positive' in done.stderr
