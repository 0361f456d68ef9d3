"""The Hugging Face Hub: whether it can be reached now."""

from __future__ import annotations

from concurrent.futures import Future, TimeoutError as NoAnswerError
from threading import Thread
from urllib.parse import urlsplit

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

PATIENCE = 2.0
"""Seconds that the hub has for its first answer."""

CONNECTION_ERRORS: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__)
"""What a request to the hub may raise; huggingface_hub's HTTP client has a base class of its own."""


def hub_problem(timeout: float = PATIENCE) -> str:
    """Why nothing can be had from the hub at the moment: one short try, on the way that a download would take.

    The address (``HF_ENDPOINT``), the proxies and the offline switch (``HF_HUB_OFFLINE``) of the environment count.

    Args:
        timeout: seconds for everything together, name resolution included.

    Returns:
        The reason in words, for the middle of a sentence; empty if the hub answers.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    host = urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT
    answer: Future[str] = Future()
    # a thread, because nothing else bounds the time of a name server that keeps silent; it ends with the process
    Thread(target=_ask, args=(answer, host, timeout), daemon=True).start()
    try:
        return answer.result(timeout)
    except NoAnswerError:
        return f"{host} did not answer within {timeout:g} s"


def _ask(answer: Future[str], host: str, timeout: float) -> None:
    try:
        answer.set_result(_try_once(host, timeout))
    except BaseException as error:
        answer.set_exception(error)


def _try_once(host: str, timeout: float) -> str:
    try:
        # a longer timeout, so that silence always has the same words; it only lets the thread end
        status = get_session().head(constants.ENDPOINT, timeout=2 * timeout).status_code
    except CONNECTION_ERRORS as error:
        reason = str(error).strip().partition("\n")[0]
        return f"{host} cannot be reached ({reason or type(error).__name__})"
    except (ValueError, ImportError) as error:  # a proxy that the client cannot use
        return f"the proxy that the environment names for {host} cannot be used ({error})"
    return f"{host} answered with status {status}" if status >= 500 else ""
