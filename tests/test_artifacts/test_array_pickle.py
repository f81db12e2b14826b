"""Pickles are read without executing anything, or refused."""

import io
import os
import pickle

import numpy as np
import pytest

from ovd.artifacts.array_pickle import _ADMITTED, load_arrays


def _reload(value, protocol):
    return load_arrays(io.BytesIO(pickle.dumps(value, protocol=protocol)))


class _Runs:
    """Pickles as a call of ``os.system`` that would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    'array',
    [
        np.arange(8, dtype=np.float32).reshape(2, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(5, dtype='>f4'),
        np.zeros((0, 4), np.float16),
        np.array([[True, False]]),
        np.arange(10)[::3],
    ],
    ids=['f4', 'fortran', 'big-endian', 'empty', 'bool', 'strided'],
)
def test_arrays_come_back_at_every_protocol(array, protocol):
    found = _reload({'a': [array, 'text', 1.5, None]}, protocol)['a']
    assert found[0].dtype == array.dtype
    np.testing.assert_array_equal(found[0], array)
    assert found[1:] == ['text', 1.5, None]
    assert found[0].flags.writeable


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_instance_data_becomes_a_dict_of_its_fields(protocol):
    structures = pytest.importorskip('mmengine.structures')
    instances = structures.InstanceData(
        bboxes=np.ones((2, 4), np.float32), scores=np.zeros(2, np.float32)
    )
    found = _reload({'train/1.jpg': instances}, protocol)['train/1.jpg']
    assert sorted(found) == ['bboxes', 'scores']
    np.testing.assert_array_equal(found['bboxes'], instances.bboxes)


def test_two_pickles_of_one_file_are_read_in_turn():
    file = io.BytesIO(pickle.dumps({'a': 1}) + pickle.dumps('b'))
    assert load_arrays(file) == {'a': 1}
    assert load_arrays(file) == 'b'


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_malicious_pickle_raises_and_runs_nothing(tmp_path, protocol):
    trace = tmp_path / 'trace'
    with pytest.raises(ValueError, match='asks for (posix|nt).system'):
        _reload({'bboxes': _Runs(trace)}, protocol)
    assert not trace.exists()


@pytest.mark.parametrize(
    'stream',
    [
        # A name with dots would walk from an admitted module to another.
        b'\x80\x04\x8c\x05numpy\x8c\x0fndarray.tofile.x\x93.',
        b'cnumpy\ncore.os.system\n.',
        b'cbuiltins\neval\n(S"1"\ntR.',
        b'cbuiltins\ngetattr\n.',
        b'cmmengine.structures.instance_data\nInstanceData.__init__\n.',
        b'c_codecs\nencode\n(S"a"\nS"zlib"\ntR.',
        b'cnumpy\ndtype\n(S"O"\ntR.',
        b'cnumpy.core.multiarray\nscalar\n.',
        b'cnumpy.core.multiarray\n_reconstruct\n(N(tS"b"\ntR.',
    ],
)
def test_other_names_and_types_are_refused(stream):
    with pytest.raises(ValueError, match='not a readable pickle of arrays'):
        load_arrays(io.BytesIO(stream))


def test_object_arrays_are_refused():
    array = np.array([{}, 'a'], dtype=object)
    with pytest.raises(ValueError, match='numbers only'):
        _reload(array, 4)


def test_every_truncation_is_a_value_error():
    data = pickle.dumps({'a': np.ones((2, 4), np.float32)}, protocol=4)
    for length in range(len(data)):
        with pytest.raises(ValueError, match='not a readable pickle'):
            load_arrays(io.BytesIO(data[:length]))


def test_what_is_shared_is_read_once():
    array = np.ones(3, np.float32)
    nested = (array, [array])
    for _ in range(100):
        nested = [nested, nested]
    found = _reload(nested, 4)
    for _ in range(100):
        assert found[0] is found[1]
        found = found[0]
    assert found[0] is found[1][0]
    np.testing.assert_array_equal(found[0], array)


def test_arrays_of_tuples_that_are_gone_are_not_mixed_up():
    found = _reload([(np.full(2, float(i)),) for i in range(200)], 4)
    assert [item[0][1] for item in found] == list(range(200))


def _loop(kind):
    inner = []
    outer = kind(inner)
    inner.append(outer)
    return outer


@pytest.mark.parametrize(
    'value',
    [
        _loop(lambda inner: inner),
        _loop(lambda inner: (inner,)),
        _loop(lambda inner: dict(a=inner)),
    ],
    ids=['list', 'tuple', 'dict'],
)
def test_containers_that_contain_themselves_are_refused(value):
    with pytest.raises(ValueError, match='a (list|tuple|dict) contains its'):
        _reload(value, 4)


STATES = {
    'attributes': b'}\x8c\x0c__defaults__\x8c\x06latin1\x85s',
    'others': b'}\x8c\x04left\x8c\x06behinds',
    'slots': b'N}\x8c\x0c__defaults__\x8c\x06latin1\x85s\x86',
    'own': b'N}\x8c\x09_functionNs\x86',
    'nothing': b'}',
}


@pytest.mark.parametrize('state', STATES.values(), ids=STATES)
@pytest.mark.parametrize('names', _ADMITTED, ids='.'.join)
def test_what_is_admitted_cannot_be_written_to(names, state):
    """BUILD puts a state into what is on the stack: here, a stand-in."""
    text = f'c{names[0]}\n{names[1]}\n'
    stand_in = _ADMITTED[names]
    before = [
        dict(getattr(part, '__dict__', {}))
        for part in (stand_in, getattr(stand_in, '_function', None))
    ]
    with pytest.raises(ValueError, match='not a readable pickle'):
        load_arrays(io.BytesIO(text.encode() + state + b'b0N.'))
    assert before == [
        dict(getattr(part, '__dict__', {}))
        for part in (stand_in, getattr(stand_in, '_function', None))
    ]
    data = dict(a=np.ones(2))
    np.testing.assert_array_equal(_reload(data, 2)['a'], data['a'])
