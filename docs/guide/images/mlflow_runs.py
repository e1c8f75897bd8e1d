"""Takes `mlflow_runs.png`, MLflow's page of a small experiment, with trials below their parent.

    python docs/guide/images/mlflow_runs.py

It starts `mlflow server` on a database of its own, tunes, and has Chromium (`chromium` or
`$CHROMIUM`) open the page. Node and playwright-core (`npm install playwright-core`, anywhere that
`NODE_PATH` names) do the click that unfolds the children.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import tuner as tune
from tuner.integrations.mlflow import MLflowLoggerCallback

PICTURE = Path(__file__).with_suffix(".png")
WIDTH, HEIGHT = 1300, 640
CLICK = """
const { chromium } = require("playwright-core");
(async () => {
  const [, url, picture, program, width, height] = process.argv;
  const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
  flags.push("--disable-background-networking", "--disable-component-update", "--disable-sync");
  const browser = await chromium.launch({ executablePath: program, args: flags });
  const viewport = { width: Number(width), height: Number(height) };
  const page = await browser.newPage({ viewport });
  await page.goto(url);
  await page.getByText("the search").first().waitFor({ timeout: 60000 });
  await page.locator('button[data-component-id*="runnamecellrenderer"]').first().click();
  await page.getByText("train_").first().waitFor({ timeout: 20000 });
  const assistant = page.locator('[aria-label="Close"]');
  if (await assistant.count()) await assistant.first().click();
  await page.getByText("Columns").first().click();
  for (const name of ["Dataset", "Source", "Models", "loss", "training_iteration", "decay", "lr"]) {
    await page.getByPlaceholder("Search columns").fill(name);
    await page.getByRole("treeitem").getByText(name, { exact: true }).or(
      page.locator('[class*="tree-treenode"]').getByText(name, { exact: true })).first().click();
  }
  await page.keyboard.press("Escape");
  await page.mouse.move(700, 620);
  await page.waitForTimeout(1500);
  await page.screenshot({ path: picture });
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
"""


def train(config: dict[str, float]) -> None:
    """A loss that falls as fast as the learning rate lets it."""
    loss = 1.0
    for _ in range(20):
        loss *= 1 - config["lr"]
        tune.report({"loss": loss + config["decay"]})


def search(uri: str, folder: str) -> str:
    """Runs the experiment; MLflow's id of the one that it is shown as."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    experiment = mlflow.set_experiment("regression")
    with mlflow.start_run(run_name="the search"):
        tune.Tuner(
            train,
            param_space={"lr": tune.loguniform(1e-2, 0.5), "decay": tune.choice([0.0, 0.01, 0.1])},
            tune_config=tune.TuneConfig(num_samples=8, metric="loss", mode="min", seed=3),
            run_config=tune.RunConfig(
                name="regression",
                storage_path=folder,
                verbose=0,
                callbacks=[MLflowLoggerCallback()],
            ),
        ).fit()
    return str(experiment.experiment_id)


def main() -> None:
    """Starts the server, tunes and takes the picture."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or sys.exit("no Chromium")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
        try:
            wait_for(f"{uri}/health")
            page = f"{uri}/#/experiments/{search(uri, folder)}/runs"
            arguments = [page, str(PICTURE), program, str(WIDTH), str(HEIGHT)]
            subprocess.run(["node", "-e", CLICK, *arguments], check=True)
        finally:
            os.killpg(server.pid, 9)
            server.wait()


def wait_for(url: str) -> None:
    """Waits until there is an answer."""
    deadline = time.monotonic() + 60
    while True:
        try:
            urlopen(url, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


if __name__ == "__main__":
    main()
