"""Which environment variables of the user's script trials have no use for."""

from __future__ import annotations

from collections.abc import Mapping

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
