"""Reading the code blocks and tables of a Markdown document."""

from __future__ import annotations

import ast
import re
from itertools import takewhile


def code_blocks(text, language):
    """Return the contents of the fenced code blocks in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def files_in(text):
    """Return the Python blocks that are files, by the name in their first line."""
    named = [(re.match(r"# (\w+\.py)\n", block), block) for block in code_blocks(text, "python")]
    return {name.group(1): block for name, block in named if name}


def table_after(text, heading):
    """Return the rows of the first table after a heading, each a list of cells, without the header."""
    section = text[text.index(heading) + len(heading) :]
    lines = re.search(r"(^\|.*\n)+", section, re.MULTILINE).group().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def promised_output(program):
    """Return the lines that a program prints according to the comments at its calls of `print`."""
    return [line for call in print_calls(program) for line in promised_by(call, program)]


def print_calls(program):
    """Return the syntax nodes of all statements `print(...)`, in the order of the text."""
    statements = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Expr)]
    return sorted(
        (node for node in statements if ast.unparse(node).startswith("print(")), key=lambda node: node.lineno
    )


def promised_by(call, program):
    """Return what the comment behind a call says that it prints, or else those in the lines below it."""
    lines = program.splitlines()
    rest = lines[call.end_lineno - 1].encode()[call.end_col_offset :].decode()
    if behind := re.fullmatch(r"  # (.*)", rest):
        return [behind.group(1)]
    below = (re.fullmatch(r" *# (.*)", line) for line in lines[call.end_lineno :])
    return [comment.group(1) for comment in takewhile(bool, below)]
