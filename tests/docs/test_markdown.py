"""The reader of documents finds what they say, and the runner finds where they are wrong."""

import pytest

from tests.docs import run_blocks
from tests.docs.markdown import code_blocks, files_in, promised_output, table_after
from tests.examples.stand_in import run_python

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
print(1)  # 1
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
    program = "print(1)  # 1\nprint(2)\nx = 3  # three\nif x:\n    print(4,\n          5)  # 4 5\n"
    assert promised_output(program) == ["1", "4 5"]


def test_promised_output_may_be_below():
    program = "for n in range(2):\n    print(n)\n# 0\n# 1\nprint('ü')\n# ü\n\n# a comment\n"
    assert promised_output(program) == ["0", "1", "ü"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the programs of a document in an empty folder; return what they print."""
    monkeypatch.chdir(tmp_path)

    def run(document):
        for program in run_blocks.programs_in(document):
            run_blocks.run(program)
        return capsys.readouterr().out

    return run


def test_blocks_are_programs_by_themselves(run):
    alone = "```python\nname = 1\nprint(__name__)\n```\n```python\nprint('name' in globals())  # False\n```\n"
    assert "__main__\nFalse\n" == run(alone)


def test_blocks_that_are_files_are_left_alone(run):
    assert "1\n" == run("```python\n# guide.py\nraise SystemExit\n```\n```python\nprint(1)  # 1\n```\n")


def test_prints_without_a_comment_may_be_between(run):
    assert "0\n1\n" == run("```python\nprint(0)\nprint(1)  # 1\n```\n")


@pytest.mark.parametrize(
    "program", ["print(1)  # 2", "print(1)  # 1\nprint(2)  # 3", "print(0)\nprint(1)  # 2", "print()  # 1"]
)
def test_program_that_prints_something_else_fails(run, program):
    with pytest.raises(run_blocks.OutputError):
        run(f"```python\n{program}\n```\n")


@pytest.mark.parametrize(("program", "code"), [("pass", 0), ("print(1)  # 2", 1), ("raise SystemExit", 1)])
def test_exit_code_of_a_program(program, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert code == run_blocks.exit_code_of(program)


@pytest.mark.exhaustive
def test_documents_that_fail_are_named(tmp_path):
    """Each program has a process and a folder of its own."""
    documents = [tmp_path / name for name in ("good.md", "bad.md")]
    documents[0].write_text("```python\nopen('new', 'x')\n```\n" * 2)
    documents[1].write_text("```python\nprint(1)  # 2\n```\n")
    finished = run_python(
        "-m", "tests.docs.run_blocks", *map(str, documents), base_url="http://127.0.0.1:9/v1"
    )
    assert (1, f"failed: {documents[1]}") == (finished.returncode, finished.stderr.splitlines()[-1])
    assert "promised ['2']\nprinted  ['1']\n" in finished.stderr
