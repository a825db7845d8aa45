"""The zoo list itself: complete, consistent, and in step with the table in the documentation."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mmlayerwise.utils.errors import UserError
from mmlayerwise.zoo import load_zoo

ROOT = Path(__file__).parents[1]

COLLECTION = """
  - Name: {name}
    Metadata: {{Catalogue: {id}, Task: {task}, Status: {status}}}
"""
MODEL = """
Models:
  - Name: some_config
    In Collection: {collection}
    Config: configs/some/some_config.py
    Metadata: {{Parameters: 7}}
"""


def write_zoo(folder: Path, collections: list[dict], model_of: str | None = None) -> Path:
    text = 'Collections:' + ''.join(
        COLLECTION.format(**{'task': 'det', 'status': 'to come', **c}) for c in collections
    )
    if model_of:
        text += MODEL.format(collection=model_of)
    (folder / 'metafile.yml').write_text(text)
    index = folder / 'model-index.yml'
    index.write_text('Import: [metafile.yml]')
    return index


def test_every_system_of_the_catalogue_is_listed():
    semantic = [f'S{number:02}' for number in range(1, 65) if number != 10] + ['S77']
    expected = (
        [f'D{number:02}' for number in range(1, 23)]
        + [f'D22{letter}' for letter in 'abcdefg']
        + semantic
        + [f'I{number:02}' for number in range(1, 6)]
        + [f'P{number:02}' for number in range(1, 8)]
        + [f'C{number:02}' for number in range(1, 10)]
    )
    assert len(expected) == 114
    assert [system.id for system in load_zoo()] == expected


def test_task_follows_from_the_id():
    tasks = {'D': {'det'}, 'S': {'sem', 'inst'}, 'I': {'inst'}, 'P': {'pan'}, 'C': {'cls', 'text'}}
    assert all(system.task in tasks[system.id[0]] for system in load_zoo())
    # MaskLab is in the lectures' chapter on semantic segmentation.
    assert Counter(s.id for s in load_zoo() if s.id[0] == 'S' and s.task == 'inst') == {'S11': 1}


@pytest.mark.parametrize(
    'model', [m for s in load_zoo() for m in s.models], ids=lambda model: model.name
)
def test_config_of_a_working_system_exists(model):
    assert model.config_path.is_file()
    assert model.name == model.config_path.stem


def test_evidence_exists_and_states_the_metrics():
    for system in load_zoo():
        for result in (result for model in system.models for result in model.results):
            recorded = (ROOT / result['Evidence']).read_text()
            json.loads(recorded)
            for metric, value in result['Metrics'].items():
                assert re.search(rf'\b{re.escape(str(value))}', recorded), (system.name, metric)


def test_models_are_attached_to_their_system(tmp_path):
    index = write_zoo(
        tmp_path,
        [dict(name='Two', id='D02', status='works'), dict(name='One', id='D01')],
        model_of='Two',
    )
    one, two = load_zoo(index)
    assert (one.id, one.works, one.models) == ('D01', False, ())
    assert (two.id, two.works) == ('D02', True)
    assert [(m.name, m.parameters) for m in two.models] == [('some_config', 7)]


def test_systems_are_ordered_as_in_the_catalogue(tmp_path):
    ids = ['C01', 'S77', 'D22b', 'P01', 'D22', 'I01', 'D22a', 'D03', 'S01']
    index = write_zoo(tmp_path, [dict(name=id_, id=id_) for id_ in ids])
    assert [s.id for s in load_zoo(index)] == [
        'D03', 'D22', 'D22a', 'D22b', 'S01', 'S77', 'I01', 'P01', 'C01',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('collections', 'model_of', 'message'),
    [
        ([dict(name='A', id='D01', status='works')], None, 'if and only if it has a model'),
        ([dict(name='A', id='D01')], 'A', 'if and only if it has a model'),
        ([dict(name='A', id='D01')], 'B', 'unknown collections: B'),
        ([dict(name='A', id='D01', task='detection')], None, "'detection'; choose from det"),
        ([dict(name='A', id='D01', status='soon')], None, "'soon'; choose from works, to come"),
        ([dict(name='A', id='D01'), dict(name='B', id='D01')], None, 'listed twice: D01'),
        ([dict(name='A', id='D01'), dict(name='A', id='D02')], None, 'listed twice: A'),
        ([dict(name='A', id='X01')], None, "'X01' is no catalogue id"),
    ],
)
def test_contradictory_entry_is_refused(tmp_path, collections, model_of, message):
    with pytest.raises(UserError, match=message):
        load_zoo(write_zoo(tmp_path, collections, model_of))


def test_missing_field_is_named(tmp_path):
    (tmp_path / 'metafile.yml').write_text(
        'Collections: [{Name: A, Metadata: {Catalogue: D01, Task: det}}]'
    )
    (tmp_path / 'model-index.yml').write_text('Import: [metafile.yml]')
    with pytest.raises(UserError, match="A has no 'Status'"):
        load_zoo(tmp_path / 'model-index.yml')


def test_missing_file_is_named(tmp_path):
    (tmp_path / 'model-index.yml').write_text('Import: [gone.yml]')
    with pytest.raises(UserError, match=r'gone\.yml'):
        load_zoo(tmp_path / 'model-index.yml')


def test_table_in_the_documentation_is_current():
    tool = ROOT / 'tools' / 'dev' / 'zoo_table.py'
    process = subprocess.run(
        [sys.executable, str(tool), '--check'], capture_output=True, text=True, cwd=ROOT
    )
    assert process.returncode == 0, process.stderr
