"""Run an extraction again and again, and kill it at random moments.

Usage: python kill_extraction.py CONFIG TIMES SEED. Each run is a process that
forks from this one, which imports once and starts no threads. Prints how many
of the runs were killed before their end, and how many shards that left.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Dict

from mmengine.config import Config

from ovd.engine.launch import build_runner


def start(config: str) -> int:
    """Return the id of a process that extracts."""
    child = os.fork()
    if child:
        return child
    os.setsid()  # so that the workers of its loader are killed with it
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    build_runner(Config.fromfile(config)).train()
    os._exit(0)


def read_store(store: Path) -> Dict[str, bytes]:
    """Return the files of a store but what killed runs left."""
    return (
        {
            path.name: path.read_bytes()
            for path in store.iterdir()
            if not path.name.startswith('.')
        }
        if store.exists()
        else {}
    )


def main() -> None:
    config, times, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    store = Path(Config.fromfile(config).train_cfg.store)
    rng = random.Random(seed)
    for _ in range(2):  # the second time files are cached
        shutil.rmtree(store, ignore_errors=True)
        begin = time.time()
        assert os.waitpid(start(config), 0)[1] == 0
        duration = time.time() - begin
    once = read_store(store)
    shutil.rmtree(store)
    killed, shards = 0, []
    for _ in range(times):
        child = start(config)
        time.sleep(rng.uniform(0.2, 1.1) * duration)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        status = os.waitpid(child, 0)[1]
        assert status in (0, signal.SIGKILL), f'ended with {status}'
        killed += status == signal.SIGKILL
        found = read_store(store)
        shards.append(len(found))
        for name, content in found.items():
            assert content == once[name], f'{name} is not whole'
        if status == 0:
            assert found == once, 'a run that ended left something out'
            shutil.rmtree(store)
    assert os.waitpid(start(config), 0)[1] == 0
    assert once == read_store(store)
    print(killed, *shards)


if __name__ == '__main__':
    main()
