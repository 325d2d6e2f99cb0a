"""The reader of documents finds what they say, and the runner finds where they are wrong."""

import pytest

from tests.docs import run_blocks
from tests.docs.markdown import code_blocks, files_in, promised_output, table_after

DOCUMENT = """\
# Title
```python
first = 1
```
```console
$ make demo
```
## Table
text
| a | b |
|---|---|
| 1 | `2` |

```python
await asyncio.sleep(0)
print(first)  # 1
```
"""


def test_code_blocks_of_one_language():
    assert code_blocks(DOCUMENT, "console") == ["$ make demo\n"]
    assert len(code_blocks(DOCUMENT, "python")) == 2


def test_files_are_blocks_that_begin_with_a_name():
    named = "```python\n# test_it.py\nassert 1\n```\n"
    assert files_in(DOCUMENT + named) == {"test_it.py": "# test_it.py\nassert 1\n"}


def test_table_after_heading():
    assert table_after(DOCUMENT, "## Table") == [["1", "`2`"]]


def test_promised_output_is_in_comments():
    assert promised_output("print(1)  # 1\nprint(2)\nx = 3  # three\n  print(4)  # 4\n") == ["1", "4"]


def test_blocks_share_names_and_may_await(tmp_path, capsys):
    path = tmp_path / "document.md"
    path.write_text(DOCUMENT.replace("first = 1", "import asyncio\nfirst = 1"))
    run_blocks.main(path)
    assert capsys.readouterr().out == "1\n"


def test_blocks_that_are_files_are_left_alone(tmp_path, capsys):
    path = tmp_path / "document.md"
    path.write_text("```python\n# guide.py\nraise SystemExit\n```\n```python\nprint(1)  # 1\n```\n")
    run_blocks.main(path)
    assert capsys.readouterr().out == "1\n"


def test_blocks_that_print_something_else_are_told(tmp_path):
    path = tmp_path / "document.md"
    path.write_text("```python\nprint(1)  # 2\n```\n")
    with pytest.raises(SystemExit, match=r"printed \['1'\]"):
        run_blocks.main(path)
