"""What two sessions may differ in, taken away."""

import json
import re

TOLD = re.compile(r"^(\d+\. (?:\w+: )?)([\[{].*)$", re.MULTILINE)
"""A line of the message into which a nested handoff folds the history: an item, or its content, as JSON."""


def normalised(items):
    """Return a model's input, or a history, without ids, `completed` statuses and empty `logprobs`.

    A plain text of an assistant is a string, as in the replay form.

    So, too, within the text into which a nested handoff folds a history, where keys come to be in order.

    Args:
        items: Items, or the text that stands for one message of the user. They are not changed.
    """
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    return [_item(item) for item in items]


def _item(item):
    kept = {
        key: value for key, value in item.items() if key != "id" and (key, value) != ("status", "completed")
    }
    content = kept.get("content")
    if isinstance(content, list):
        kept["content"] = [_part(part) for part in content]
        text = content[0].get("text") if content else None
        if kept["content"] == [{"type": "output_text", "text": text, "annotations": []}]:
            return {**{key: kept[key] for key in kept if key != "type"}, "content": text}
    elif isinstance(content, str) and "<CONVERSATION HISTORY>" in content:
        kept["content"] = TOLD.sub(_told, content)
    return kept


def _part(part):
    return {key: value for key, value in part.items() if (key, value) != ("logprobs", [])}


def _told(line):
    told = json.loads(line[2])
    plain = _item(told) if isinstance(told, dict) else [_part(part) for part in told]
    return line[1] + json.dumps(plain, sort_keys=True)
