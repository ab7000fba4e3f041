"""The discovery document: the client's own of 2020, as v1, with what newer clients call."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from eelocal.signatures import client_file

_LIST_PARAMETERS = {
    "filter": {"location": "query", "type": "string"},
    "view": {"location": "query", "type": "string"},
    "pageSize": {"location": "query", "type": "integer", "format": "int32"},
    "pageToken": {"location": "query", "type": "string"},
}
_GET_CONFIG = {
    "id": "earthengine.projects.getConfig",
    "path": "v1/{+name}",
    "flatPath": "v1/projects/{projectsId}/config",
    "httpMethod": "GET",
    "parameterOrder": ["name"],
    "parameters": {
        "name": {"location": "path", "pattern": "^projects/[^/]+/config$", "required": True, "type": "string"}
    },
    "response": {"$ref": "ProjectConfig"},
}
_SCHEMAS = {
    "ProjectConfig": {
        "id": "ProjectConfig",
        "type": "object",
        "properties": {"name": {"type": "string"}, "registrationState": {"type": "string"}},
    }
}


@cache
def discovery_document(url: str) -> bytes:
    """The document for a server at that URL."""
    text = client_file("cloud_api_discovery_document.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text.replace("v1alpha", "v1"))
    document.update(rootUrl=f"{url}/", baseUrl=f"{url}/", version="v1", id="earthengine:v1")
    document["schemas"] = {**document["schemas"], **_SCHEMAS}
    projects = document["resources"]["projects"]
    projects["methods"]["getConfig"] = _GET_CONFIG
    for resource in (projects, projects["resources"]["assets"]):
        resource["methods"]["listAssets"]["parameters"].update(_LIST_PARAMETERS)
    return json.dumps(document).encode()
