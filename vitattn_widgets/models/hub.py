"""The Hugging Face Hub: whether it can be reached now, and its files, from the local cache or from there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, TimeoutError as NoAnswerError
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants, get_session, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils.tqdm import tqdm

from ..errors import DownloadError

PATIENCE = 2.0
"""Seconds that the hub has for its first answer; ``HF_HUB_ETAG_TIMEOUT``, huggingface_hub's own variable, changes them
for downloads."""

CHUNK = 1 << 18
"""Bytes after which the progress bar of a download moves; huggingface_hub's 10 MB look like a halt on a slow line."""

CONNECTION_ERRORS: tuple[type[BaseException], ...] = (OSError, *HfHubHTTPError.__bases__)
"""What a request to the hub may raise; huggingface_hub's HTTP client has a base class of its own."""

DOWNLOAD_ERRORS: tuple[type[BaseException], ...] = (*CONNECTION_ERRORS, RuntimeError)
"""The same of a download, where hf_xet has errors of its own."""


def hub_problem(timeout: float = PATIENCE) -> str:
    """Why nothing can be had from the hub at the moment: one short try, on the way that a download would take.

    The address (``HF_ENDPOINT``), the proxies and the offline switch (``HF_HUB_OFFLINE``) of the environment count.

    Args:
        timeout: seconds for everything together, name resolution included.

    Returns:
        The reason in words, for the middle of a sentence; empty if the hub answers.
    """
    return address_problem(constants.ENDPOINT, timeout)


def address_problem(address: str, timeout: float = PATIENCE) -> str:
    """The same for any web address."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    host = urlsplit(address).hostname or address
    answer: Future[str] = Future()
    # a thread, because nothing else bounds the time of a name server that keeps silent; it ends with the process
    Thread(target=_ask, args=(answer, address, host, timeout), daemon=True).start()
    try:
        return answer.result(timeout)
    except NoAnswerError:
        return f"{host} did not answer within {timeout:g} s"


def _ask(answer: Future[str], address: str, host: str, timeout: float) -> None:
    try:
        answer.set_result(_try_once(address, host, timeout))
    except BaseException as error:
        answer.set_exception(error)


def _try_once(address: str, host: str, timeout: float) -> str:
    try:
        # a longer timeout, so that silence always has the same words; it only lets the thread end
        status = get_session().head(address, timeout=2 * timeout).status_code
    except CONNECTION_ERRORS as error:
        return f"{host} cannot be reached ({_first_line(error)})"
    except (ValueError, ImportError) as error:  # a proxy that the client cannot use
        return f"the proxy that the environment names for {host} cannot be used ({_first_line(error)})"
    return f"{host} answered with status {status}" if status >= 500 else ""


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def fetch(repository: str, filenames: Sequence[str], words: str) -> Path:
    """A file of a repository: from the local cache, without a look at the network; else from the hub.

    What the cache holds is whole: a download that is stopped leaves nothing there. The next one starts afresh.

    Args:
        repository: its name, with ``@revision`` if it is not the newest.
        filenames: the names that the file may have, the preferred one first.
        words: what the file is, for messages and for the progress bar (``"the weights of vit_tiny_patch16_224"``).

    Returns:
        The file's path in the cache.

    Raises:
        DownloadError: it is not in the cache, and cannot be downloaded now, or not by this user.
    """
    name, _, revision = repository.partition("@")
    place: dict[str, Any] = {"repo_id": name, "revision": revision or None}
    for filename in filenames:
        cached = try_to_load_from_cache(filename=filename, **place)
        if isinstance(cached, str):
            return Path(cached)
    patience = constants.HF_HUB_ETAG_TIMEOUT if os.environ.get("HF_HUB_ETAG_TIMEOUT") else PATIENCE
    if problem := hub_problem(patience):
        raise download_error(words, problem)
    for filename in filenames:
        if path := _download(filename, place, words):
            return path
    raise download_error(words, f"{name} on the hub has no {' or '.join(filenames)}")


def download_error(words: str, problem: str) -> DownloadError:
    """The error for a file that is neither here nor to be had.

    Args:
        words: what the file is, as in `fetch`.
        problem: why it cannot be downloaded, for the middle of a sentence.
    """
    reason = f"{words} are not on this computer, and {problem}"
    return DownloadError(
        f"{reason}; check the network (proxies, HF_ENDPOINT, HF_HUB_OFFLINE), give a local file with checkpoint=... "
        "(--checkpoint), or use the embedded model, 'demo' (--model demo)",
        reason,
    )


def _download(filename: str, place: dict[str, Any], words: str) -> Path | None:
    """A file from the hub; None if its repository has none of this name."""
    try:
        with _one_bar(words, shown=not filename.endswith(".json")) as bar:
            return Path(hf_hub_download(filename=filename, tqdm_class=bar, **place))
    except LocalEntryNotFoundError as error:  # what huggingface_hub makes of a failed request
        problem = f"the hub did not give them ({_first_line(error.__cause__ or error)})"
    except EntryNotFoundError:
        return None
    except RepositoryNotFoundError:
        problem = f"the hub has no {place['repo_id']}, or wants a login for it"
    except DOWNLOAD_ERRORS as error:
        problem = f"the download failed ({_first_line(error)})"
    raise download_error(words, problem)


@contextmanager
def _one_bar(words: str, shown: bool) -> Iterator[type[tqdm]]:
    """A class of progress bars, and for as long as it is used none of huggingface_hub's lines about retries."""

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            options |= {"desc": words} if shown else {"disable": True}
            super().__init__(*args, **options)  # type: ignore[no-untyped-call]

        # with these, hf_xet draws no second bar for what it transfers

        def update_transfer(self, _: int) -> None: ...

        def set_transfer_postfix_str(self, _: str, refresh: bool = True) -> None: ...

    log = logging.getLogger("huggingface_hub")
    level, chunk = log.level, constants.DOWNLOAD_CHUNK_SIZE
    log.setLevel(logging.ERROR)
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK
    try:
        yield Bar
    finally:
        log.setLevel(level)
        constants.DOWNLOAD_CHUNK_SIZE = chunk
