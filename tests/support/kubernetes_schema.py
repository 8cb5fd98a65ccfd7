"""What a Kubernetes API server says of an object that it does not accept.

A TestRun is checked against the operator's own schema. `unknown` are fields that the schema does
not have: with `fieldValidation=Strict` the server answers 400. `invalid` are values: 422.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from support.kubernetes_store import CONFIGMAPS, TESTRUNS
from support.paths import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.kubernetes_store import Kind, Object

CRD_FILE = DATA / "kubernetes" / "k6.io_testruns.crd.yaml"
CONFIGMAP_BYTES = 1024 * 1024
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_META = {
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "managedFields",
}
_CONFIGMAP = {"apiVersion", "kind", "metadata", "data", "binaryData", "immutable"}
_TYPES = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


@cache
def crd() -> Object:
    """The definition of TestRun."""
    found: Object = yaml.load(CRD_FILE.read_bytes(), Loader=yaml.CSafeLoader)
    return found


@cache
def testrun_schema() -> Object:
    """The schema of TestRun v1alpha1."""
    (version,) = crd()["spec"]["versions"]
    schema: Object = version["schema"]["openAPIV3Schema"]
    return schema


def unknown(kind: Kind, body: Object) -> list[str]:
    """The paths of fields that the kind does not have."""
    found = [f"metadata.{key}" for key in body.get("metadata", {}) if key not in _META]
    if kind == TESTRUNS:
        found += _unknown(testrun_schema(), {**body, "metadata": {}}, "")
    elif kind == CONFIGMAPS:
        found += [key for key in body if key not in _CONFIGMAP]
    return found


def _unknown(schema: Object, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from _unknown(schema.get("items", {}), one, f"{path}[{number}]")
        return
    if not isinstance(value, dict) or (
        "properties" not in schema and "additionalProperties" not in schema
    ):
        return
    for key, one in value.items():
        here = f"{path}.{key}" if path else key
        if key in schema.get("properties", {}):
            yield from _unknown(schema["properties"][key], one, here)
        elif "additionalProperties" in schema:
            yield from _unknown(schema["additionalProperties"], one, here)
        else:
            yield here


def invalid(kind: Kind, body: Object) -> list[tuple[str, str]]:
    """Each value that is refused: its path and the server's words."""
    found = list(_metadata(body.get("metadata", {})))
    if kind == TESTRUNS:
        found += _invalid(testrun_schema(), body, "")
    elif kind == CONFIGMAPS:
        found += _configmap(body)
    return found


def labels_invalid(labels: dict[str, str], path: str) -> Iterator[tuple[str, str]]:
    """Labels whose key or value is refused."""
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            yield path, f'Invalid value: "{key}": name part must consist of alphanumeric characters'
        if len(value) > 63:
            yield path, f'Invalid value: "{value}": must be no more than 63 bytes'
        elif not LABEL.fullmatch(value):
            yield path, f'Invalid value: "{value}": a valid label must be an empty string or …'


def _metadata(meta: Object) -> Iterator[tuple[str, str]]:
    name = meta.get("name", "a")
    if not meta.get("name") and not meta.get("generateName"):
        yield "metadata.name", "Required value: name or generateName is required"
    elif len(name) > 253 or not NAME.fullmatch(name):
        yield (
            "metadata.name",
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case'
            " alphanumeric characters, '-' or '.', and must start and end with an alphanumeric"
            " character",
        )
    yield from labels_invalid(meta.get("labels", {}), "metadata.labels")


def _configmap(body: Object) -> Iterator[tuple[str, str]]:
    total = 0
    for part in ("data", "binaryData"):
        for key, value in body.get(part, {}).items():
            if not KEY.fullmatch(key):
                yield (
                    f"{part}[{key}]",
                    f'Invalid value: "{key}": a valid config key must consist of …',
                )
            if part == "data":
                total += len(value.encode())
                continue
            try:
                total += len(base64.b64decode(value, validate=True))
            except binascii.Error:
                yield f"{part}[{key}]", "illegal base64 data"
    if total > CONFIGMAP_BYTES:
        yield "[]", f"Too long: may not be more than {CONFIGMAP_BYTES} bytes"


def _invalid(schema: Object, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if schema.get("x-kubernetes-int-or-string"):
        yield from _int_or_string(schema, value, path)
        return
    wanted = schema.get("type")
    if wanted and not _is(value, wanted):
        name = "null" if value is None else type(value).__name__
        yield path, f'Invalid value: "{name}": {path} in body must be of type {wanted}: "{name}"'
        return
    if "enum" in schema and value not in schema["enum"]:
        yield path, f'Unsupported value: "{value}": supported values: {schema["enum"]}'
    yield from _bounds(schema, value, path)
    if isinstance(value, dict):
        yield from _fields(schema, value, path)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _invalid(schema.get("items", {}), one, f"{path}[{number}]")


def _int_or_string(schema: Object, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, int | str) or isinstance(value, bool):
        yield path, f"{_said(value)} in body must be of type integer,string"
    elif isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield path, f"{_said(value)} in body should match '{schema['pattern']}'"


def _fields(schema: Object, value: Object, path: str) -> Iterator[tuple[str, str]]:
    for key in schema.get("required", []):
        if key not in value:
            yield f"{path}.{key}".lstrip("."), "Required value"
    for key, one in value.items():
        inner = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
        if isinstance(inner, dict) and (path or key != "metadata"):
            yield from _invalid(inner, one, f"{path}.{key}".lstrip("."))


def _bounds(schema: Object, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if len(value) > schema.get("maxLength", len(value)):
            yield path, f"Too long: may not be more than {schema['maxLength']} bytes"
        if len(value) < schema.get("minLength", 0):
            yield path, f'Invalid value: "{value}": {path} in body should be at least 1 chars long'
        if not re.search(schema.get("pattern", ""), value):
            yield path, f'Invalid value: "{value}": {path} in body should match the pattern'
    elif isinstance(value, int) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield path, f"Invalid value: {value}: {path} in body should be greater than or equal to"
        if schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
            yield path, f"Invalid value: {value}: {path} in body must be of type int32"


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _TYPES[wanted])


def _said(value: Any) -> str:
    return f'Invalid value: "{value}"'


def with_defaults(body: Object) -> Object:
    """A TestRun with the schema's defaults."""
    spec = {"quiet": "true", "paused": "true", **body["spec"]}
    return {**body, "spec": spec}


def only_known(body: Object) -> Object:
    """A TestRun without the fields that the schema does not have, as the server prunes them."""

    def prune(schema: Object, value: Any) -> Any:
        if isinstance(value, list):
            return [prune(schema.get("items", {}), one) for one in value]
        if not isinstance(value, dict) or "properties" not in schema:
            return value
        known = schema["properties"]
        return {key: prune(known[key], one) for key, one in value.items() if key in known}

    pruned: Object = prune(testrun_schema(), {**body, "metadata": {}})
    return {**pruned, "metadata": body["metadata"]}
