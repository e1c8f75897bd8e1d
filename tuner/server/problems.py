"""How the server says that something is wrong: a line, and the part of the request that is."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match

from tuner.errors import JournalError
from tuner.server import schemas
from tuner.validation import did_you_mean


class Refusal(HTTPException):
    """What was asked is not done.

    Args:
        status: The status of the answer.
        error: One line that says why.
        field: The part of the request that is wrong, `"spec.config"`.
    """

    def __init__(self, status: int, error: str, field: str | None = None) -> None:
        super().__init__(status, error)
        self.field = field


def problem(status: int, error: str, field: str | None = None) -> Response:
    """The answer that something went wrong, with one line that says what."""
    content = orjson.dumps({"error": error, "field": field})
    return Response(content, status, media_type="application/json")


async def check_query(request: Request) -> None:
    """Refuses parameters that a route does not have, which would change nothing.

    Raises:
        Refusal: There is one.
    """
    known = [each.alias for each in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            words = f"no such parameter{did_you_mean(name, known)}"
            raise Refusal(422, f"{name[:100]}: {words}", name[:100])


async def on_http_error(request: Request, error: Exception) -> Response:
    """The answer to what was refused."""
    assert isinstance(error, HTTPException)
    response = problem(error.status_code, error.detail, getattr(error, "field", None))
    if error.status_code == 404 and "endpoint" not in request.scope:
        return problem(404, f"there is no {request.url.path[:100]!r}; see /openapi.json")
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """What can be done at a path, by all of its routes."""
    routes: list[APIRoute] = request.app.state.routes
    found = [route for route in routes if route.matches(request.scope)[0] != Match.NONE]
    return sorted({method for route in found for method in route.methods or ()})


async def on_invalid(request: Request, error: Exception) -> Response:
    """The answer to a part of a request that is wrong."""
    assert isinstance(error, RequestValidationError)
    first, *others = error.errors()
    source, *place = map(str, first["loc"])
    if source != "body":
        del place[1:]  # beside its name, it has those of types
    if first["type"] == "too_much":
        place.append(first["ctx"]["field"])
    field = ".".join(place) or source
    words = _words(first)
    if first["type"] == "json_invalid":
        field, words = "body", f"no JSON, at byte {place[0]}: {first['ctx']['error']}"
    more = f" (and {len(others)} more)" if others else ""
    return problem(422, f"{field}: {words}{more}", field)


def _words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        if error["loc"][-1] == "stop":
            return "trials end as RunConfig(stop=…) says, also those that are added: leave it out"
        return f"no such field{did_you_mean(str(error['loc'][-1]), _FIELDS)}"
    message: str = error["msg"]
    return message.removeprefix("Value error, ")


_FIELDS = [
    name
    for model in (schemas.NewTrials, schemas.Spec, schemas.Changes, schemas.Stop)
    for name in model.model_fields
]


async def on_damage(request: Request, error: Exception) -> Response:
    """The answer when the journal is damaged."""
    assert isinstance(error, JournalError)
    return problem(500, str(error))
