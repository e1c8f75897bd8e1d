"""Which environment variables of the user's script trials have no use for."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from tuner.server.config import TOKEN_VARIABLE

SECRETS = (TOKEN_VARIABLE,)
"""Variables that the driver alone needs, and that no trial is to print or to pass on."""


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment as trials get it.

    Example:
        >>> without_secrets({"HOME": "/home/me", "TUNER_SERVER_TOKEN": "kept-in-a-vault-7"})
        {'HOME': '/home/me'}
    """
    return {name: value for name, value in environ.items() if name not in SECRETS}


def leave_run_of_job(environ: MutableMapping[str, str]) -> None:
    """Keeps MLflow in a trial from going on in the job's own run, and from ending it.

    It is what the runs of trials nest below, so `setup_mlflow` finds it under another name.

    Example:
        >>> environ = {"MLFLOW_RUN_ID": "9f6d"}
        >>> leave_run_of_job(environ)
        >>> environ
        {'TUNER_MLFLOW_PARENT_RUN_ID': '9f6d'}
    """
    run_id = environ.pop("MLFLOW_RUN_ID", None)
    if run_id:
        environ.setdefault("TUNER_MLFLOW_PARENT_RUN_ID", run_id)
    if "AZUREML_RUN_ID" in environ:  # azureml-mlflow uses the job's token only where it is set
        environ["MLFLOW_RUN_ID"] = ""
