"""What the server answers to: its routes, and the document that describes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.exceptions import HTTPException

from tuner.errors import JournalError
from tuner.experiment import requests
from tuner.server import problems, schemas
from tuner.server.auth import Gate
from tuner.server.events import EventStreams
from tuner.server.limits import MAX_PAGE, MAX_STREAMS, BodyLimit
from tuner.server.link import ControllerLink
from tuner.server.problems import Refusal
from tuner.server.view import ExperimentView
from tuner.version import __version__

_INSTANCE = os.urandom(4).hex()
"""Part of every ETag: a journal that lost its end counts the same numbers again."""

_KIND_STATUS = {"unknown": 404, "conflict": 409, "invalid": 422}

_MAYBE = "may still do it, or have done it: look before you repeat"

_WORDS = {
    401: "The token is missing, or another one.",
    404: "There is no such trial.",
    409: "The state of the experiment does not allow it.",
    413: "The body is too large.",
    421: "The server was asked for under the name of another machine.",
    422: "A part of the request is wrong.",
    500: "The journal is damaged.",
    503: "Too many ask at once.",
    504: "The experiment did not answer, and may still do what was asked, or have done it.",
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {each: {"model": schemas.Problem, "description": _WORDS[each]} for each in statuses}


_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events, one after the other.",
        "content": {"text/event-stream": {"schema": schemas.EVENT}},
    }
}

_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It is as it was."}}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with.

    Attributes:
        view: The experiment as its journal tells it.
        streams: Those who watch it.
        link: Leads to the controller.
    """

    view: ExperimentView
    streams: EventStreams
    link: ControllerLink

    async def ask(self, request: requests.Request) -> tuple[str, ...]:
        """Has the controller do something; the ids of the trials that it was about.

        Raises:
            Refusal: It was not done, or may not have been.
        """
        if self.link.is_busy:
            raise Refusal(503, "too many requests wait for the experiment; try again")
        try:
            outcome = await self.link.ask(request)
        except TimeoutError:
            raise Refusal(504, f"the experiment did not answer in time and {_MAYBE}") from None
        except EOFError:
            raise Refusal(504, f"the experiment ended before it answered and {_MAYBE}") from None
        self.view.expire()
        if outcome.refusal is not None:
            status = _KIND_STATUS[outcome.kind or "conflict"]
            raise Refusal(status, outcome.refusal, outcome.field)
        return outcome.trial_ids


_ETag = Annotated[
    str | SkipJsonSchema[None],
    Header(alias="If-None-Match", description="The `ETag` of an answer that is known."),
]


class _StrictRequest(Request):
    """A request whose body is JSON as RFC 8259 has it: without NaN, and not endlessly nested."""

    async def json(self) -> Any:
        return orjson.loads(await self.body())


class _StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


def create_app(parts: Parts, token: str, host: str) -> FastAPI:
    """The application that a server process runs.

    Args:
        parts: What it works with.
        token: What everybody who asks has to know.
        host: Where it listens.
    """
    app = FastAPI(
        title="tuner",
        summary="Watch and steer a running experiment.",
        version=__version__,
        docs_url=None,  # a browser has no token to fetch the document with
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Security(HTTPBearer(auto_error=False)), Depends(problems.check_query)],
        responses=_problems(401, 421, 422, 500),
    )
    routers = _reading(parts), _steering(parts)
    for router in routers:
        app.include_router(router)
    app.add_middleware(BodyLimit)
    app.add_middleware(Gate, token=token, host=host)
    app.state.routes = [route for router in routers for route in router.routes]
    app.add_exception_handler(HTTPException, problems.on_http_error)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(JournalError, problems.on_damage)
    return app


def _reading(parts: Parts) -> APIRouter:
    router = APIRouter()
    view = parts.view

    @router.get("/experiment", response_model=schemas.Experiment, responses=_UNCHANGED)
    async def experiment(request: Request, if_none_match: _ETag = None) -> Response:
        """The experiment: its state, its limits, the best trial so far."""
        await view.refresh()
        return _answer(view, if_none_match, view.experiment)

    @router.get("/trials", response_model=schemas.Trials, responses=_UNCHANGED)
    async def trials(
        status: Annotated[
            schemas.Status | SkipJsonSchema[None], Query(description="Only those.")
        ] = None,
        after: Annotated[
            int,
            Query(
                ge=-1,
                le=schemas.MAX_NUMBER,
                description="Only those with a larger `number`: `next` of the page before.",
            ),
        ] = -1,
        offset: Annotated[
            int, Query(ge=0, le=schemas.MAX_NUMBER, description="How many to leave out of those.")
        ] = 0,
        limit: Annotated[
            int,
            Query(
                ge=1,
                le=MAX_PAGE,
                description="The most to list; they are fewer where they are large.",
            ),
        ] = 100,
        if_none_match: _ETag = None,
    ) -> Response:
        """Trials in order of creation, each with its last result."""
        await view.refresh()
        return _answer(view, if_none_match, lambda: view.page(status, after, offset, limit))

    @router.get(
        "/trials/{trial_id}", response_model=schemas.Trial, responses=_UNCHANGED | _problems(404)
    )
    async def trial(trial_id: str, if_none_match: _ETag = None) -> Response:
        """One trial with its last result."""
        await view.refresh()
        found = view.table.get(trial_id)
        if found is None:
            raise _unknown(trial_id)
        return _answer(view, if_none_match, lambda: view.trial(found))

    @router.get("/events", response_class=Response, responses=_EVENTS | _problems(404, 503))
    async def events(
        trial_id: Annotated[
            str | SkipJsonSchema[None], Query(description="Only those of this trial.")
        ] = None,
        follow: Annotated[
            bool, Query(description="Whether to wait for more, or to end after what there is.")
        ] = True,
        last_event_id: Annotated[
            Annotated[int, Field(ge=0, le=2**63 - 1)] | SkipJsonSchema[None],
            Header(description="Begins after this one; 0 for all there were."),
        ] = None,
    ) -> StreamingResponse:
        """Server-sent events: each result, and each change of a trial or of the experiment.

        They are named `result`, `trial` and `experiment`; `end` says that no more will come.
        Their `id` is a number in the experiment's journal: who connects again and
        sends it as `Last-Event-ID` misses none.
        """
        if parts.streams.num_watching >= MAX_STREAMS:
            raise Refusal(503, f"{MAX_STREAMS} others are watching already")
        await view.refresh()
        if trial_id is not None and view.table.get(trial_id) is None:
            raise _unknown(trial_id)
        after = view.seq if last_event_id is None else min(last_event_id, view.seq)
        stream = parts.streams.stream(view, after, trial_id, follow=follow)
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return router


def _steering(parts: Parts) -> APIRouter:
    router = APIRouter(route_class=_StrictRoute, responses=_problems(409, 503, 504))

    @router.post("/trials", status_code=201, response_model=schemas.Done, responses=_problems(413))
    async def add_trials(body: schemas.NewTrials) -> Response:
        """Adds trials with configurations that the searcher has not proposed."""
        await _check_trainable(parts.view, body.spec)
        return _done(await parts.ask(body.spec.request()), 201)

    for verb, kind, summary in _VERBS:
        router.add_api_route(
            f"/trials/{{trial_id}}/{verb}",
            _on_trial(parts, kind),
            methods=["POST"],
            name=f"{verb}_trial",
            description=summary,
            response_model=schemas.Done,
            responses=_problems(404),
        )

    @router.patch("/experiment", response_model=schemas.Done, responses=_problems(413))
    async def change_limits(body: schemas.Changes) -> Response:
        """Gives the experiment other limits."""
        return _done(await parts.ask(body.request()))

    @router.post("/experiment/stop", response_model=schemas.Done, responses=_problems(413))
    async def stop_experiment(body: schemas.Stop) -> Response:
        """Ends the experiment: nothing new begins, trials end at their next report."""
        return _done(await parts.ask(body.request()))

    return router


_VERBS: tuple[tuple[str, Callable[[str], requests.Request], str], ...] = (
    ("stop", requests.StopTrial, "Ends a trial: at its next report, or by force some time later."),
    ("pause", requests.PauseTrial, "Has a trial pause at its next report, until it is resumed."),
    ("resume", requests.ResumeTrial, "Lets a trial go on that was paused here."),
)


def _on_trial(
    parts: Parts, kind: Callable[[str], requests.Request]
) -> Callable[[str], Coroutine[Any, Any, Response]]:
    async def handle(trial_id: str) -> Response:
        return _done(await parts.ask(kind(trial_id)))

    return handle


async def _check_trainable(view: ExperimentView, spec: schemas.Spec) -> None:
    await view.refresh()
    if spec.run is not None and spec.run != view.trainable:
        words = f"this experiment trains {view.trainable!r}: leave it out"
        raise Refusal(409, f"spec.run: {words}", "spec.run")


def _unknown(trial_id: str) -> Refusal:
    return Refusal(404, f"there is no trial {trial_id[:100]!r}", "trial_id")


def _done(trial_ids: tuple[str, ...], status: int = 200) -> Response:
    return Response(orjson.dumps({"trial_ids": trial_ids}), status, media_type="application/json")


def _answer(view: ExperimentView, known: str | None, make: Callable[[], bytes]) -> Response:
    tag = f'"{_INSTANCE}-{view.seq}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if known is not None and tag in known:
        return Response(None, 304, headers)
    return Response(make(), 200, headers, media_type="application/json")
