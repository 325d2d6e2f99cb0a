"""Write `openai_sessions/schema.json`: what OpenAI's public OpenAPI document says of requests and items.

    python -m tools.schema DOCUMENT [--output FILE]

The document is JSON or YAML, complete or reduced to the paths below: everything else is found by following
its `$ref`s. Titles, descriptions, examples, formats and patterns are left out.

The file has one shape for each object: its required and optional fields, each with the kinds of JSON that it
accepts and their limits. Two facts come from comparing an item in a request with the same item in a listing:

- `null` says what a null becomes: `kept` if the listed field may be null too, `absent` if it may not.
- `defaults` names the fields that a request may omit and that every listed item has.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

Leaf = tuple[str, Schema]
"""The schema of a single type, without `$ref` and `allOf`, with its name or where it is."""

OUTPUT = Path(__file__).parents[1] / "openai_sessions" / "schema.json"

ABOUT = "Made by tools/schema.py from OpenAI's public OpenAPI document. Do not edit: run `make schema`."

ITEMS = "/conversations/{conversation_id}/items"

REQUESTS = {
    "response": "/responses",
    "count": "/responses/input_tokens",
    "compaction": "/responses/compact",
}
"""The paths of the POST requests whose fields are written."""

KINDS = ("boolean", "integer", "number", "string", "array", "object")

LIMITS = {"maxLength": "max_length", "minLength": "min_length", "minimum": "minimum", "maximum": "maximum"}


class Shapes:
    """The shapes of objects that schemas of a document refer to.

    Attributes:
        by_name: The shapes found so far, by the names of their schemas or by where they are.
    """

    def __init__(self, document: Schema) -> None:
        self.by_name: dict[str, Schema] = {}
        self._schemas: Schema = document["components"]["schemas"]

    def value(self, schema: Schema, *, name: str) -> Schema:
        """Return what a field accepts.

        Args:
            schema: The schema of the field.
            name: Where it is, for schemas in it that have no name.
        """
        leaves = list(self.leaves(schema, name=name))
        given = [leaf for _, leaf in leaves if leaf.get("type") != "null"]
        found: Schema = {"kinds": [kind for kind in KINDS if any(_accepts(leaf, kind) for leaf in given)]}
        if len(given) < len(leaves) or any(_is_anything(leaf) for leaf in given):
            found["null"] = "kept"
        strings = [leaf for leaf in given if _accepts(leaf, "string")]
        if strings and all("enum" in leaf for leaf in strings):
            found["choices"] = list(dict.fromkeys(choice for leaf in strings for choice in leaf["enum"]))
        found |= {limit: leaf[key] for leaf in given for key, limit in LIMITS.items() if key in leaf}
        elements = [leaf["items"] for leaf in given if "items" in leaf]
        if elements:
            found["elements"] = self.value({"anyOf": elements}, name=name)
        return found | self._objects([each for each in leaves if each[1].get("properties")])

    def leaves(self, schema: Schema, *, name: str) -> Iterator[Leaf]:
        """Yield the schemas of single types that a schema is made of."""
        while reference := schema.get("$ref") or schema.get("$recursiveRef"):
            name = name.partition(".")[0] if reference == "#" else reference.rpartition("/")[2]
            schema = self._schemas[name]
        union = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        if "allOf" in schema:
            yield name, self._merged(schema, name=name)
        elif not union:
            yield name, schema
        for branch in union:
            yield from self.leaves(branch, name=name)

    def _merged(self, schema: Schema, *, name: str) -> Schema:
        """Return an object with the fields of all that `allOf` lists."""
        merged: Schema = {"type": "object", "properties": {}, "required": []}
        for part in (*schema["allOf"], {key: each for key, each in schema.items() if key != "allOf"}):
            for _, leaf in self.leaves(part, name=name):
                merged["properties"].update(leaf.get("properties", {}))
                merged["required"] += leaf.get("required", [])
        return merged

    def _objects(self, leaves: Sequence[Leaf]) -> Schema:
        """Return the shapes of the objects that a field accepts: one, or one for each `type`."""
        if not leaves:
            return {}
        if not all(self.choices(leaf, "type") and "type" in leaf.get("required", ()) for _, leaf in leaves):
            return {"shape": self.shape(leaves)}
        return {
            "variants": {
                each: self.shape(group, without=("type",)) for each, group in self.by_type(leaves).items()
            }
        }

    def by_type(self, leaves: Sequence[Leaf]) -> dict[str, list[Leaf]]:
        """Return the objects by the values of their field `type`."""
        groups: dict[str, list[Leaf]] = {}
        for name, leaf in leaves:
            for each in self.choices(leaf, "type"):
                groups.setdefault(each, []).append((name, leaf))
        return groups

    def choices(self, leaf: Schema, field: str) -> list[str]:
        """Return the values that an object accepts in a field, if they are limited."""
        schema = leaf.get("properties", {}).get(field)
        choices: list[str] = self.value(schema, name=field).get("choices", []) if schema else []
        return choices

    def shape(self, leaves: Sequence[Leaf], *, without: Sequence[str] = ()) -> str:
        """Find the shape of objects that fit any of these schemas, and return its name.

        Args:
            leaves: The schemas.
            without: Fields to leave out.
        """
        name = "|".join(dict.fromkeys(name for name, _ in leaves))
        if name in self.by_name:
            return name
        shape = self.by_name[name] = {"required": {}, "optional": {}}
        for field in sorted({field for _, leaf in leaves for field in _fields(leaf)} - set(without)):
            described = [leaf["properties"][field] for _, leaf in leaves if field in leaf["properties"]]
            is_required = described and all(field in leaf.get("required", ()) for _, leaf in leaves)
            # The document requires some fields without describing them. They were never seen to be needed.
            value = self.value({"anyOf": described or [{"type": "string"}]}, name=f"{name}.{field}")
            shape["required" if is_required else "optional"][field] = value
        return name

    def items(self, schema: Schema) -> dict[str, Schema]:
        """Return the items of a union by their type: the name of their shape, and whether they need an id."""
        groups = self.by_type(list(self.leaves(schema, name="item")))
        return {
            item_type: {
                "needs_id": all("id" in leaf.get("required", ()) for _, leaf in leaves),
                "shape": self.shape(leaves, without=("id", "type")),
            }
            for item_type, leaves in groups.items()
            if item_type != "message"
        }

    def messages(self, schema: Schema) -> dict[str, str]:
        """Return the names of the shapes of messages by their role."""
        leaves = self.by_type(list(self.leaves(schema, name="item"))).get("message", [])
        roles = dict.fromkeys(role for _, leaf in leaves for role in self.choices(leaf, "role"))
        return {
            role: self.shape(
                [(f"message.{role}", leaf) for _, leaf in leaves if role in self.choices(leaf, "role")],
                without=("id", "type"),
            )
            for role in roles
        }


def _is_anything(leaf: Schema) -> bool:
    return not leaf.keys() & {"type", "properties", "enum"}


def _accepts(leaf: Schema, kind: str) -> bool:
    return _is_anything(leaf) or kind == leaf.get("type", "object" if "properties" in leaf else "string")


def _fields(leaf: Schema) -> set[str]:
    return {*leaf["properties"], *leaf.get("required", ())}


class Comparison:
    """Marks in the shapes of requests what the same objects in a listing do not allow."""

    def __init__(self, requested: Shapes, listed: Shapes) -> None:
        self._requested = requested.by_name
        self._listed = listed.by_name
        self._done: set[tuple[str, str]] = set()

    def shapes(self, requested: str, listed: str) -> None:
        """Compare two shapes, and those in their fields."""
        if (requested, listed) in self._done:
            return
        self._done.add((requested, listed))
        shape, other = self._requested[requested], self._listed[listed]
        others = {**other["required"], **other["optional"]}
        for field, value in {**shape["required"], **shape["optional"]}.items():
            if field in others:
                self._values(value, others[field])
        defaults = {*shape.get("defaults", ()), *(shape["optional"].keys() & other["required"].keys())}
        if defaults:
            shape["defaults"] = sorted(defaults)

    def _values(self, requested: Schema, listed: Schema) -> None:
        if "null" in requested and "null" not in listed:
            requested["null"] = "absent"
        if "elements" in requested and "elements" in listed:
            self._values(requested["elements"], listed["elements"])
        if "shape" in requested and "shape" in listed:
            self.shapes(requested["shape"], listed["shape"])
        for name in requested.get("variants", {}).keys() & listed.get("variants", {}).keys():
            self.shapes(requested["variants"][name], listed["variants"][name])


def extract(document: Schema) -> Schema:
    """Return what the package needs of an OpenAPI document."""
    requested, listed = Shapes(document), Shapes(document)
    to_create = _resolved(_body(document, ITEMS), document)["properties"]["items"]["items"]
    in_listing = _resolved(_answer(document, ITEMS, "get"), document)["properties"]["data"]["items"]
    output = _resolved(_answer(document, REQUESTS["response"], "post"), document)["properties"]["output"]
    items, messages = requested.items(to_create), requested.messages(to_create)
    requests = {
        name: requested.shape(list(requested.leaves(_body(document, path), name=name)), without=("input",))
        for name, path in REQUESTS.items()
    }
    comparison = Comparison(requested, listed)
    for item_type, item in listed.items(in_listing).items():
        if item_type in items:
            comparison.shapes(items[item_type]["shape"], item["shape"])
    for role, shape in listed.messages(in_listing).items():
        if role in messages:
            comparison.shapes(messages[role], shape)
    return {
        "about": ABOUT,
        "version": document["info"]["version"],
        "include": _include(document),
        "items": items,
        "messages": messages,
        "output": list(requested.by_type(list(requested.leaves(output["items"], name="item")))),
        "requests": requests,
        "shapes": dict(sorted(requested.by_name.items())),
    }


def _resolved(schema: Schema, document: Schema) -> Schema:
    """Return a schema of one object without `$ref`."""
    ((_, resolved),) = Shapes(document).leaves(schema, name="")
    return resolved


def _operation(document: Schema, path: str, method: str) -> Schema:
    operation: Schema | None = document["paths"].get(path, {}).get(method)
    if operation is None:
        raise SystemExit(f"The document has no {method.upper()} {path}: it is not OpenAI's, or not complete.")
    return operation


def _body(document: Schema, path: str) -> Schema:
    body: Schema = _operation(document, path, "post")["requestBody"]["content"]["application/json"]["schema"]
    return body


def _answer(document: Schema, path: str, method: str) -> Schema:
    responses = _operation(document, path, method)["responses"]
    answer: Schema = responses["200"]["content"]["application/json"]["schema"]
    return answer


def _include(document: Schema) -> list[str]:
    """Return the values of `include`."""
    parameters = _operation(document, ITEMS, "get")["parameters"]
    (schema,) = (each["schema"] for each in parameters if each.get("name") == "include")
    choices: list[str] = Shapes(document).value(schema, name="include")["elements"]["choices"]
    return choices


def rendered(data: Schema) -> str:
    """Return the data as JSON, with one line for each field of a shape."""
    return _rendered(data, indent=0) + "\n"


def _rendered(value: Any, *, indent: int) -> str:
    within = value.values() if isinstance(value, dict) else ()
    if indent == _LINE or not any(isinstance(each, dict) for each in within):
        return json.dumps(value)
    lines = [
        f"{' ' * (indent + 1)}{json.dumps(name)}: {_rendered(each, indent=indent + 1)}"
        for name, each in value.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{' ' * indent}}}"


_LINE = 4
"""How deep in the data a value has one line, whatever is in it."""


def load(path: Path) -> Schema:
    """Return an OpenAPI document in JSON or YAML."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        import yaml  # noqa: PLC0415 - only documents in YAML need it

        text = json.dumps(yaml.safe_load(text))
    document: Schema = json.loads(text)
    return document


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Write what the package needs of OpenAI's OpenAPI document.")
    parser.add_argument("document", type=Path, help="the document, in JSON or YAML")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file to write (%(default)s)")
    arguments = parser.parse_args()
    data = extract(load(arguments.document))
    arguments.output.write_text(rendered(data), encoding="utf-8")
    print(f"{arguments.output}: version {data['version']}, {len(data['shapes'])} shapes")


if __name__ == "__main__":
    main()
