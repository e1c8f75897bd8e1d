"""What the tests on MLflow share."""

from __future__ import annotations

from typing import Any

from servers import MlflowServer

import tuner as tune

PARENT = "mlflow.parentRunId"


def three_results(config: dict[str, Any]) -> None:
    for i in range(3):
        tune.report({"loss": config.get("lr", 1) / (i + 1)})


def history(server: MlflowServer, run: Any, key: str) -> list[tuple[int, float]]:
    points = server.client.get_metric_history(run.info.run_id, key)
    return [(point.step, point.value) for point in points]
