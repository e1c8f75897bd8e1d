"""Takes the pictures in docs/guide/tensorboard.md: runs two examples and opens TensorBoard on them.

PYTHONPATH=tests .venv/bin/python docs/guide/images/tensorboard.py   # half a minute; needs chromium
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from browser import Browser, find_browser
from servers import running_tensorboard

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[2] / "examples"
LOADED_S = 30


def run_example(name: str, folder: Path) -> Path:
    """Runs an example; the experiment's folder as a path from the given one."""
    environ = {**os.environ, "TUNER_RESULTS_DIR": str(folder / "tuner_results")}
    subprocess.run([sys.executable, EXAMPLES / name], env=environ, cwd=folder, check=True)
    (experiment,) = folder.glob("tuner_results/*")
    return experiment.relative_to(folder)


def wait_until_loaded(url: str, tag: str) -> None:
    deadline = time.monotonic() + LOADED_S
    while tag not in urlopen(f"{url}/data/plugin/scalars/tags").read().decode():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} does not show {tag}")
        time.sleep(0.1)


def picture(browser: Browser, example: str, tag: str, page: str, *, name: str, width: int) -> None:
    """Takes a picture of one page of TensorBoard on an example, once it has a tag."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = run_example(example, Path(folder))
        with running_tensorboard(experiment, Path(folder)) as url:
            wait_until_loaded(url, tag)
            browser.screenshot(f"{url}/#{page}", HERE / name, size=(width, 760))


def main() -> None:
    browser = find_browser()
    if browser is None:
        sys.exit("chromium is not installed")
    name = "tensorboard_hparams.png"
    picture(browser, "numpy_mlp.py", "ray/tune/accuracy", "hparams", name=name, width=1400)
    name, page = "tensorboard_scalars.png", "scalars&_smoothingWeight=0&tagFilter=loss|config"
    picture(browser, "pbt.py", "ray/tune/config/eta0", page, name=name, width=1200)


if __name__ == "__main__":
    main()
