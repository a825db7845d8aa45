from io import StringIO
from pathlib import Path

from rich.console import Console

from mmlayerwise.datasets import AGNews
from mmlayerwise.datasets.transforms import PackTextInputs, QuantizeCharacters
from mmlayerwise.visualization.text_table import text_table


def shown(dataset: AGNews, transformed: bool) -> str:
    console = Console(width=100, file=StringIO())
    console.print(text_table(dataset, [1, 0], transformed))
    return console.file.getvalue()


def make(folder: Path) -> AGNews:
    rows = '"3","Oil [bold]","prices"\n"1","Müller & Söhne","go on and on"\n'
    (folder / 'train.csv').write_text(rows, encoding='utf-8')
    return AGNews(folder, pipeline=[QuantizeCharacters(length=12), PackTextInputs()])


def test_what_the_model_reads(tmp_path):
    first, second = (line for line in shown(make(tmp_path), True).splitlines() if '│' in line)
    assert [cell.strip() for cell in first.split('│')[1:-1]] == ['1', 'World', '27', 'm□ller & s□h']
    assert 'Business' in second
    assert 'oil [bold] p' in second


def test_the_text_of_the_file(tmp_path):
    table = shown(make(tmp_path), False)
    assert 'Müller & Söhne go on and on' in table
    assert 'Oil [bold] prices' in table
