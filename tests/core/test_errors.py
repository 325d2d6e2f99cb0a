"""The tree of errors that opens the module."""

from __future__ import annotations

import re

from openai_sessions import errors


def test_the_tree_lists_every_error_in_the_order_of_the_module():
    listed = re.findall(r"^    (?:[├└]── )?(\w+(?:Error|Warning)) ", errors.__doc__, re.MULTILINE)
    defined = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    ]
    assert listed == [kind.__name__ for kind in defined]
