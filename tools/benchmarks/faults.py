"""Inject faults into training and its files; tell what survived them.

Every kind of fault is tried many times, at moments and in places drawn by
lot, on a toy job that runs through the real runner, hooks and files. A trial
passes if the run goes on to the very weights and losses of one that nothing
happened to, or ends with the message that it should.

Prints a table, then, as the last line, JSON: tried, failed, and both per kind.
Exit code 1 if a trial failed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Dict, List

import cv2
import matplotlib.backends.backend_agg  # noqa: F401
import mmengine.config.config
import torch
import torch.utils.cpp_extension  # noqa: F401
from mmdet.utils import register_all_modules

# Before anything is computed: a process with threads must not be forked.
torch.set_num_threads(1)
cv2.setNumThreads(0)

from fault_images import build_files, start_extraction  # noqa: E402
from fault_kinds import KINDS, Kind  # noqa: E402
from fault_training import World, expect_end  # noqa: E402

# What each trial would import anew, draws of torch included
register_all_modules()
torch.manual_seed(0)
# The host formats each config of a runner with yapf, which takes seconds.
mmengine.config.config.FormatCode = lambda text, **kwargs: (text, True)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/faults.py --scale 0.1',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--scale',
        type=float,
        default=1.0,
        help='share of the trials; of each kind one at least',
    )
    parser.add_argument(
        '--kinds',
        nargs='+',
        default=[''],
        metavar='WORDS',
        help='only kinds with one of these words in their names',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=os.cpu_count() or 1,
        help='trials at a time (default: one per core)',
    )
    shared = '/dev/shm'
    parser.add_argument(
        '--folder',
        default=shared if os.path.isdir(shared) else None,
        help='where to write; default: memory, if Linux has it as a folder',
    )
    args = parser.parse_args()
    args.kinds = [
        kind
        for kind in KINDS
        if any(words in kind.name for words in args.kinds)
    ]
    if not args.kinds:
        parser.error(
            'no kind of fault has such a name; there are '
            + ', '.join(kind.name for kind in KINDS)
        )
    if args.scale <= 0 or args.jobs < 1:
        parser.error('--scale and --jobs must be positive')
    return args


def run_trials(
    kinds: List[Kind], world: World, seed: int, scale: float, jobs: int
) -> Dict[str, List[str]]:
    """Try all kinds; return by kind what failed, '' where nothing did."""
    trials = [(kind, i) for kind in kinds for i in _spread(kind.number, scale)]
    workers = {}
    sys.stdout.flush()
    for job in range(jobs):
        pid = os.fork()
        if pid == 0:
            with open(world.folder / f'trials_{job}.jsonl', 'w') as file:
                for kind, i in trials[job::jobs]:
                    message = _try(kind, world, seed, i)
                    print(json.dumps([kind.name, message]), file=file)
            os._exit(0)
        workers[job] = pid
    results: Dict[str, List[str]] = {kind.name: [] for kind in kinds}
    for job, pid in workers.items():
        os.waitpid(pid, 0)
        text = (world.folder / f'trials_{job}.jsonl').read_text()
        for name, message in map(json.loads, text.splitlines()):
            results[name].append(message)
    missing = len(trials) - sum(map(len, results.values()))
    assert not missing, f'{missing} trials came to no end'
    return results


def _spread(number: int, scale: float) -> List[int]:
    """Return a share of so many trials, from all parts of them."""
    tried = max(1, round(scale * number))
    return [i * number // tried for i in range(tried)]


def _try(kind: Kind, world: World, seed: int, number: int) -> str:
    """Return what failed in a trial, with where, or ''."""
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        try:
            way = kind.ways[number % len(kind.ways)]
            way(world, Random(f'{seed} {kind.name} {number}'), Path(folder))
        except Exception as error:  # noqa: BLE001  (the others are tried)
            place = traceback.extract_tb(error.__traceback__)[-1]
            return (
                f'{type(error).__name__} in {place.name}, line '
                f'{place.lineno}: {error}'
            )
    return ''


def show(kinds: List[Kind], results: Dict[str, List[str]]) -> dict:
    """Print failures and the table; return the numbers."""
    for name, messages in results.items():
        for i, message in enumerate(messages):
            if message:
                print(f'FAILED {name}, {i}: {message}\n')
    per_kind = {
        name: dict(tried=len(messages), failed=sum(map(bool, messages)))
        for name, messages in results.items()
    }
    width = max(map(len, results))
    print(f'{"fault":{width}}  tried  passed  expected')
    for kind in kinds:
        tried, failed = per_kind[kind.name].values()
        print(
            f'{kind.name:{width}}  {tried:5}  {tried - failed:6}  '
            f'{kind.expected}'
        )
    return dict(
        tried=sum(k['tried'] for k in per_kind.values()),
        failed=sum(k['failed'] for k in per_kind.values()),
        kinds=per_kind,
    )


def main() -> None:
    args = parse_args()
    # Jobs set it for what the host downloads. Here all else has to do without,
    # and a trial shows that a malicious file does act where it is believed.
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '0'
    kinds, begin = args.kinds, time.time()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        build_files(Path(folder))
        world = World.build(Path(folder), max(k.ranks for k in kinds))
        expect_end(
            start_extraction(
                world.folder, world.folder / 'store', world.folder
            )
        )
        results = run_trials(kinds, world, args.seed, args.scale, args.jobs)
    numbers = show(kinds, results)
    print(f'{time.time() - begin:.0f} s')
    print(json.dumps(numbers))
    sys.exit(numbers['failed'] > 0)


if __name__ == '__main__':
    main()
