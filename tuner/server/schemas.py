"""What is sent to the server and what it answers, as its OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tuner.experiment.requests import AddTrials, ChangeLimits, StopExperiment
from tuner.server.limits import MAX_DEPTH, MAX_NEW_BYTES, MAX_NEW_TRIALS, depth, expansion

MAX_NUMBER = 1_000_000_000

Status = Literal["PENDING", "RUNNING", "PAUSED", "TERMINATED", "ERROR"]


def _whole(value: Any) -> Any:
    """A number such as 3.0 is whole, as JSON Schema has it; a text or true is no number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)

Repeats = Annotated[int, Field(strict=True, ge=1, le=MAX_NEW_TRIALS), _WHOLE]
Concurrency = Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER), _WHOLE]


def _is_count(value: int) -> int:
    if value != -1 and not 1 <= value <= MAX_NUMBER:
        raise ValueError(f"use a whole number from 1 to {MAX_NUMBER}, or -1 for no limit")
    return value


NumSamples = Annotated[
    int,
    Field(strict=True),
    _WHOLE,
    AfterValidator(_is_count),
    WithJsonSchema(
        {"anyOf": [{"const": -1}, {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER}]}
    ),
]


def _without_default(schema: dict[str, Any]) -> None:
    """What may be left out, but may not be null."""
    schema.pop("default", None)


def _optional(**constraints: Any) -> Any:
    return Field(default=None, json_schema_extra=_without_default, **constraints)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Spec(_Body):
    """Which trials to add."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["num_samples", "repeat"]}})

    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Values for parameters of the search space, nested like it; "
        '`{"grid_search": […]}` for several trials. Parameters that are missing are sampled.',
    )
    num_samples: Repeats = _optional(description="How often; 1 if it is left out.")
    repeat: Repeats = _optional(description="The name that `num_samples` had.", deprecated=True)
    run: str = _optional(
        description="The trainable, which is that of the experiment.", deprecated=True
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if depth(self.config) > MAX_DEPTH:
            raise ValueError(f"config is nested more than {MAX_DEPTH} deep")
        if {"num_samples", "repeat"} <= self.model_fields_set:
            raise ValueError("repeat is the old name of num_samples: leave it out")
        self._check_amount()
        return self

    def _check_amount(self) -> None:
        times = self.request().num_samples
        number, num_bytes = expansion(self.config)
        if number * times > MAX_NEW_TRIALS:
            words = f"these are more than {MAX_NEW_TRIALS} trials: ask several times for fewer"
        elif num_bytes * times > MAX_NEW_BYTES:
            words = f"all configurations together are longer than {MAX_NEW_BYTES} bytes"
        else:
            return
        repeated = "num_samples" if self.repeat is None else "repeat"
        field = repeated if times > 1 else "config"
        raise PydanticCustomError("too_much", "{words}", {"words": words, "field": field})

    def request(self) -> AddTrials:
        """What it asks of the experiment."""
        return AddTrials(config=self.config, num_samples=self.num_samples or self.repeat or 1)


class NewTrials(_Body):
    """Trials to add to the experiment."""

    name: str = _optional(
        max_length=255,
        description="A name for the request. The trials are named as all are in the experiment.",
    )
    spec: Spec


class Changes(_Body):
    """Other limits from now on; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    num_samples: NumSamples = _optional(
        description="How often the search space is sampled, from the start; -1 for no limit."
    )
    time_budget_s: Annotated[float, Field(gt=0, le=MAX_NUMBER)] = _optional(
        description="Seconds for the experiment, from the start."
    )
    max_concurrent_trials: Concurrency = _optional(
        description="How many trials may run at once; 0 for no limit."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"say what to change: {', '.join(type(self).model_fields)}")
        return self

    def request(self) -> ChangeLimits:
        """What they ask of the experiment."""
        return ChangeLimits(
            num_samples=self.num_samples,
            time_budget_s=self.time_budget_s,
            max_concurrent_trials=self.max_concurrent_trials,
        )


class Stop(_Body):
    """How to end the experiment."""

    resumable: bool = Field(
        default=False, description="Whether its trials are left to be continued by a restore."
    )

    def request(self) -> StopExperiment:
        """What it asks of the experiment."""
        return StopExperiment(resumable=self.resumable)


class Done(BaseModel):
    """What was asked for is in the experiment's journal."""

    trial_ids: list[str] = Field(description="The trials that it was about, or that were added.")


class Problem(BaseModel):
    """Nothing was done; with the status 504, it may have been."""

    error: str = Field(description="One line that says what is wrong, and what to do.")
    field: str | None = Field(description="The part of the request that is wrong, `spec.config`.")


class Best(BaseModel):
    """The trial whose last result is the best."""

    trial_id: str
    value: float | None
    config: dict[str, Any]


class Experiment(BaseModel):
    """The experiment as a whole."""

    name: str
    path: str = Field(description="Its folder, on the machine of the server.")
    trainable: str | None
    status: Literal["RUNNING", "STOPPING", "ENDED"]
    reason: str | None = Field(description="Why it is stopping, or has ended.")
    start_time: float | None = Field(description="Unix time in seconds.")
    seq: int = Field(description="Number of the last fact in its journal, the `id` of events.")
    counts: dict[Status, int] = Field(description="How many trials have each status.")
    num_samples: int | None = Field(description="-1 for no limit.")
    time_budget_s: float | None
    max_concurrent_trials: int | None
    metric: str | list[str] | None
    mode: str | list[str] | None
    best: Best | None


class Trial(BaseModel):
    """A trial and its last result. NaN and infinities are null."""

    trial_id: str
    name: str
    number: int = Field(description="Order of creation, from 0.")
    status: Status
    config: dict[str, Any]
    evaluated_params: dict[str, Any]
    resources: list[dict[str, float]]
    attempt: int = Field(description="How often it was launched.")
    num_results: int
    num_failures: int
    start_time: float | None = Field(description="Unix time in seconds.")
    checkpoint: str | None = Field(description="Its last checkpoint's folder.")
    error: str | None = Field(description="Traceback of its last failure.")
    last_result: dict[str, Any] | None


class Trials(BaseModel):
    """Some of the trials, in order of creation."""

    total: int = Field(description="How many there are to list.")
    offset: int = Field(description="How many of them were left out, as was asked.")
    trials: list[Trial] = Field(description="Fewer than `limit` where they are large.")
    next: int | None = Field(
        description="The `after` with which the next ones are asked for, null if there are none."
    )


EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "Its number in the experiment's journal."},
        "event": {"enum": ["result", "trial", "experiment", "end"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "What is known of it: `time`, `trial_id`, `result`, `status` and more.",
        },
    },
}
