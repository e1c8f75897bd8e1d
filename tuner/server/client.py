"""Watches and steers an experiment that runs elsewhere, through its server."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson

from tuner.errors import ConfigError, MissingDependencyError, ServerError
from tuner.legacy.deprecation import warn_once
from tuner.server.config import TOKEN_VARIABLE, is_loopback
from tuner.server.event_source import Event, read_events
from tuner.server.token_file import find_token
from tuner.validation import shorten

if TYPE_CHECKING:
    import httpx

DEFAULT_PORT = 4321

_PAGE = 500
_CONNECT_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 60.0
_SILENCE_S = 60.0  # the server gives a sign of life more often
_PATIENCE_S = 15.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class TuneClient:
    """Watches and steers a running experiment that has `RunConfig(server=ServerConfig(...))`.

    It may be used by several threads, and holds a connection until `close`; it is a context
    manager, too.

    Args:
        address: Where the experiment listens, as it said when it started: a URL, or
            `"host:port"`.
        token: The token that it printed. None takes `TUNER_SERVER_TOKEN`, or, on the machine of the
            experiment and as the same user, finds it by itself.
        port_forward: The port, beside an `address` that is a host alone.
        tune_address: The name that `address` had.

    Raises:
        ConfigError: The address is none, or no token is found.
        MissingDependencyError: httpx is not installed.

    Example:
        >>> client = TuneClient("http://10.0.0.5:4321", token="kept-in-a-vault-7")
        >>> client.address
        'http://10.0.0.5:4321'
        >>> client.stop_trial("3f2a1_00004")  # doctest: +SKIP
        ['3f2a1_00004']
    """

    def __init__(
        self,
        address: str = f"http://127.0.0.1:{DEFAULT_PORT}",
        token: str | int | None = None,
        port_forward: int | None = None,
        *,
        tune_address: str | None = None,
    ) -> None:
        if tune_address is not None:
            warn_once("TuneClient(tune_address=…)", "TuneClient(address)")
            address = tune_address
        if isinstance(token, int):  # TuneClient(tune_address, port_forward)
            token, port_forward = None, token
        if port_forward is not None:
            warn_once("TuneClient(port_forward=…)", 'TuneClient("http://host:port")')
        self.address = _url(address, port_forward)
        self._http = _http_client(self.address, token or _find_token(self.address))

    def __enter__(self) -> TuneClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._http.close()

    def get_experiment(self) -> dict[str, Any]:
        """The experiment: `name`, `path`, `status`, `counts` of trials, its limits, the `best`.

        Raises:
            ServerError: It cannot be reached, or refuses.
        """
        experiment: dict[str, Any] = self._ask("GET", "/experiment")
        return experiment

    def get_all_trials(self, status: str | None = None) -> list[dict[str, Any]]:
        """All trials in order of creation, each as `get_trial` gives it.

        Args:
            status: Only those that are `"PENDING"`, `"RUNNING"`, `"PAUSED"`, `"TERMINATED"` or
                `"ERROR"`.

        Raises:
            ServerError: The experiment cannot be reached, or refuses.
        """
        trials: list[dict[str, Any]] = []
        params: dict[str, Any] = {"limit": _PAGE} | ({} if status is None else {"status": status})
        while True:
            page = self._ask("GET", "/trials", params=params)
            trials += page["trials"]
            if page["next"] is None:
                return trials
            params["after"] = page["next"]

    def get_trial(self, trial_id: str) -> dict[str, Any]:
        """A trial: `trial_id`, `config`, `status`, `last_result`, `error` and more.

        NaN and infinities are None in it.

        Raises:
            ServerError: There is no such trial, or the experiment cannot be reached.
        """
        trial: dict[str, Any] = self._ask("GET", f"/trials/{quote(trial_id, safe='')}")
        return trial

    def add_trial(self, name: str, spec: Mapping[str, Any]) -> list[str]:
        """Adds trials that the searcher has not proposed.

        Args:
            name: A name for the request; trials are named as all are in the experiment.
            spec: `{"config": {...}, "num_samples": 1}`: values for parameters of the search space,
                `{"grid_search": [...]}` for several trials. What is missing is sampled.

        Returns:
            The ids of the new trials.

        Raises:
            ServerError: A part of `spec` is wrong, or the experiment cannot be reached.
        """
        return self._command("POST", "/trials", {"name": name, "spec": dict(spec)})

    def stop_trial(self, trial_id: str) -> list[str]:
        """Ends a trial, at its next report or by force some time later.

        Raises:
            ServerError: It has ended already, there is none, or the experiment cannot be reached.
        """
        return self._command("POST", f"/trials/{quote(trial_id, safe='')}/stop")

    def pause_trial(self, trial_id: str) -> list[str]:
        """Has a trial pause at its next report, until it is resumed.

        Raises:
            ServerError: It does not run, there is none, or the experiment cannot be reached.
        """
        return self._command("POST", f"/trials/{quote(trial_id, safe='')}/pause")

    def resume_trial(self, trial_id: str) -> list[str]:
        """Lets a trial go on that was paused by `pause_trial`.

        Raises:
            ServerError: It was not, there is none, or the experiment cannot be reached.
        """
        return self._command("POST", f"/trials/{quote(trial_id, safe='')}/resume")

    def stop_experiment(self, resumable: bool = False) -> None:
        """Ends the experiment: nothing new begins, trials end at their next report.

        Args:
            resumable: Whether trials are left to be continued by a restore.

        Raises:
            ServerError: It is ending already, or cannot be reached.
        """
        self._command("POST", "/experiment/stop", {"resumable": resumable})

    def set_num_samples(self, num_samples: int) -> None:
        """Changes how often the search space is sampled, counted from the start; -1 for no limit.

        Raises:
            ServerError: The experiment refuses, or cannot be reached.
        """
        self._command("PATCH", "/experiment", {"num_samples": num_samples})

    def set_time_budget(self, seconds: float) -> None:
        """Changes the time that the experiment may take, counted from the start.

        Raises:
            ServerError: The experiment refuses, or cannot be reached.
        """
        self._command("PATCH", "/experiment", {"time_budget_s": seconds})

    def set_max_concurrent_trials(self, number: int) -> None:
        """Changes how many trials may run at once; 0 for no limit.

        Raises:
            ServerError: The experiment refuses, or cannot be reached.
        """
        self._command("PATCH", "/experiment", {"max_concurrent_trials": number})

    def events(self, trial_id: str | None = None, *, after: int | None = None) -> Iterator[Event]:
        """What happens, as it happens, until the experiment is over.

        A connection that is lost is made again, and nothing is missed.

        Args:
            trial_id: Only what happens to this trial.
            after: Begins after the event with this `seq`, 0 for all there were; None for now.

        Yields:
            Events of the kind `"result"`, `"trial"` or `"experiment"`.

        Raises:
            ServerError: The experiment cannot be reached for some time, or refuses.
        """
        params = {} if trial_id is None else {"trial_id": trial_id}
        lost_at: float | None = None
        pause = _FIRST_PAUSE_S
        while True:
            try:
                for event in self._stream(params, after):
                    lost_at, pause = None, _FIRST_PAUSE_S
                    after = event.seq or after
                    if event.kind == "end":
                        return
                    if event.kind:
                        yield event
            except ServerError as error:
                if error.status is not None:
                    raise
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > _PATIENCE_S:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _stream(self, params: dict[str, str], after: int | None) -> Iterator[Event]:
        import httpx

        headers = {} if after is None else {"Last-Event-ID": str(after)}
        timeout = httpx.Timeout(_CONNECT_TIMEOUT_S, read=_SILENCE_S)
        try:
            with self._http.stream(
                "GET", "/events", params=params, headers=headers, timeout=timeout
            ) as response:
                if response.status_code != 200:
                    response.read()
                    raise _refusal(response)
                yield from read_events(response.iter_bytes())
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _command(self, method: str, path: str, body: dict[str, Any] | None = None) -> list[str]:
        trial_ids: list[str] = self._ask(method, path, body=body)["trial_ids"]
        return trial_ids

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Any:
        import httpx

        headers = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else _encoded(body)
        try:
            response = self._http.request(
                method, path, params=params, content=content, headers=headers
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise _refusal(response)
        return orjson.loads(response.content)

    def _unreachable(self, error: Exception) -> ServerError:
        return ServerError(
            f"{self.address} does not answer ({error or type(error).__name__}): "
            "is the experiment still running?"
        )


def _url(address: str, port: int | None) -> str:
    """The URL of a server without a slash at its end.

    Example:
        >>> _url("localhost:4321", None), _url("box", 99), _url("https://box/exp/", None)
        ('http://localhost:4321', 'http://box:99', 'https://box/exp')
    """
    url = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(url)
        has_port = parts.port is not None
    except ValueError:
        parts, has_port = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"TuneClient(address={shorten(address)}): use what the experiment printed, such as "
            f"'http://127.0.0.1:{DEFAULT_PORT}'"
        )
    if not has_port and (port is not None or "://" not in address):
        url = f"{url.rstrip('/')}:{port or DEFAULT_PORT}"
    return url.rstrip("/")


def _find_token(address: str) -> str:
    token = os.environ.get(TOKEN_VARIABLE)
    if token:
        return token
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.port is not None and (is_loopback(host) or host == socket.gethostname()):
        token = find_token(parts.port)
    if not token:
        raise ConfigError(
            f"TuneClient({address!r}): no token is found for it; give the token that the "
            f"experiment printed, or set {TOKEN_VARIABLE}"
        )
    return token


def _http_client(address: str, token: str) -> httpx.Client:
    try:
        import httpx
    except ImportError as error:
        raise MissingDependencyError(
            'TuneClient needs httpx: pip install "tuner[server]"'
        ) from error
    return httpx.Client(
        base_url=address,
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(_ANSWER_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
        trust_env=not is_loopback(urlsplit(address).hostname or ""),  # no proxy leads here
    )


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise ConfigError(f"TuneClient: {shorten(body)} cannot be sent as JSON: {error}") from error


def _refusal(response: httpx.Response) -> ServerError:
    try:
        content = orjson.loads(response.content)
        return ServerError(content["error"], response.status_code, content["field"])
    except (ValueError, KeyError, TypeError):  # something in between has answered
        text = f"{response.url} answered {response.status_code}: {shorten(response.text)}"
        return ServerError(text, response.status_code)
