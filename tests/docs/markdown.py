"""Reading the code blocks and tables of a Markdown document."""

from __future__ import annotations

import re


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


def promised_output(block):
    """Return what the comments behind `print(...)` in a block say that it prints."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)
