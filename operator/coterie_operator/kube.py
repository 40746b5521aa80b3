"""The Kubernetes API behind the `Cluster` port: plain JSON over the official client's asynchronous half.

The client's models are bypassed: they cost most of its time and drop fields that they don't know. What is used of it are its
credentials (in-cluster or kubeconfig, with renewal) and its connection pool.

A watch lists first, then follows from the list's version. It reconnects when the server ends it (every few minutes, on purpose),
when nothing arrived for longer than the server's bookmarks are apart, and when the connection breaks; if the version it left off
at has been forgotten (410), it lists again and reports only the differences. What it can't heal by itself, a refusal, it raises.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from coterie_operator.cluster import (
    NO_LABELS,
    AlreadyExists,
    ApiError,
    Change,
    Conflict,
    Forbidden,
    Invalid,
    Kind,
    NotFound,
    Notice,
    Object,
    Unavailable,
)
from coterie_operator.metrics import RequestMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
    from pathlib import Path

_LOG: Final = logging.getLogger(__name__)

_REQUEST: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
_PAGE: Final = 500  # objects of a list per answer, as kubectl asks for
_WATCH_SECONDS: Final = 240  # then the server ends a watch, and it starts anew
_SILENCE_SECONDS: Final = 75  # bookmarks come every minute: longer silence is a dead connection
_BACKOFF_SECONDS: Final = (0.2, 15.0)  # first and longest pause before reconnecting
_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_VERBS: Final = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
_Objects = list[Object]  # within the class, `list` is its own method


class _Expired(ApiError):
    """410: the version that a watch or a page wants to go on from is forgotten."""


_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    HTTPStatus.BAD_REQUEST: Invalid,
    HTTPStatus.UNAUTHORIZED: Unavailable,  # an expired token: the credentials renew themselves
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: Invalid,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: _Expired,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Invalid,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Invalid,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
    HTTPStatus.TOO_MANY_REQUESTS: Unavailable,
}


class KubeCluster:
    """A real API server as a `Cluster`. Close it, or use it as an asynchronous context manager."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self.metrics = RequestMetrics()

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None) -> Self:
        """Return a cluster with the credentials of `kubeconfig`; None: those of KUBECONFIG, of this pod, or of the user's own file."""
        configuration = Configuration()
        configuration.connection_pool_maxsize = 0  # watches hold theirs for minutes; whoever writes limits itself
        where = str(kubeconfig) if kubeconfig is not None else os.environ.get("KUBECONFIG", "")
        if not where and os.environ.get("KUBERNETES_SERVICE_HOST"):
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            file = where or None  # None: the user's own
            await load_kube_config(config_file=file, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]
        return cls(ApiClient(configuration))

    async def close(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return await self._call("GET", _path(kind, namespace, name))

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS, *, fields: Mapping[str, str] = NO_LABELS
    ) -> list[Object]:
        return (await self._list(kind, namespace, labels, fields))[0]

    async def create(self, kind: Kind, obj: Object) -> Object:
        namespace = obj["metadata"].get("namespace", "")
        return await self._call("POST", _path(kind, namespace), body=_typed(kind, obj))

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, *, status: bool = False) -> Object:
        path = _path(kind, namespace, name) + ("/status" if status else "")
        return await self._call("PATCH", path, body=body, content_type=_MERGE_PATCH)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._call("DELETE", _path(kind, namespace, name), body=options)
        except NotFound:
            return

    async def watch(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS) -> AsyncIterator[Notice]:
        path, seen, version, pause = _path(kind, namespace), _Seen(kind), "", _Pause()
        while True:
            try:
                if not version:
                    items, version = await self._list(kind, namespace, labels)
                    for notice in seen.relist(items):
                        yield notice
                async with aclosing(self._stream(path, labels, version)) as events:
                    async for change, obj in events:
                        version = obj["metadata"]["resourceVersion"]
                        pause.reset()
                        if change in _CHANGES:
                            yield seen.note(Change(change), obj)
                await asyncio.sleep(_BACKOFF_SECONDS[0])  # a server that ends every watch at once must not be hammered
            except _Expired:
                version = ""
            except Unavailable as error:
                _LOG.warning("watch of %s in %s broke, reconnecting: %s", kind.plural, namespace or "all namespaces", error)
                await pause.wait()

    async def _list(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str], fields: Mapping[str, str] = NO_LABELS
    ) -> tuple[_Objects, str]:
        """Return all objects and the version of the list, page by page, or at once if the pages' version was forgotten meanwhile."""
        selectors = {"labelSelector": _selector(labels), "fieldSelector": _selector(fields)}
        query = {**selectors, "limit": str(_PAGE)}
        items: _Objects = []
        while True:
            try:
                answer = await self._call("GET", _path(kind, namespace), query=query)
            except _Expired:
                query = dict(selectors)
                items.clear()
                continue
            items += [_typed(kind, item) for item in answer["items"]]
            if not (following := answer["metadata"].get("continue")):
                return items, answer["metadata"]["resourceVersion"]
            query["continue"] = following

    async def _stream(self, path: str, labels: Mapping[str, str], version: str) -> AsyncGenerator[tuple[str, Object]]:
        """Yield the events of one watch request, until the server ends it."""
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, "labelSelector": _selector(labels)}
        query["timeoutSeconds"] = str(_WATCH_SECONDS)
        timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=_SILENCE_SECONDS)
        response = await self._send("GET", path, query=query, timeout=timeout)
        try:
            if response.status != HTTPStatus.OK:
                raise _error(response.status, await response.read())
            async for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", HTTPStatus.INTERNAL_SERVER_ERROR), json.dumps(event["object"]).encode())
                yield event["type"], event["object"]
        except TimeoutError:
            return  # silence: the caller starts anew from the last version
        except aiohttp.ClientError as error:
            raise Unavailable(f"reading {path}: {type(error).__name__}: {error}") from error
        finally:
            response.close()

    async def _call(
        self, method: str, path: str, *, query: Mapping[str, str] = NO_LABELS, body: Object | None = None, content_type: str = _JSON
    ) -> Object:
        response = await self._send(method, path, query=query, body=body, content_type=content_type)
        try:
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}: {error}") from error
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise _error(response.status, content)
        found: Object = json.loads(content)
        return found

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = NO_LABELS,
        body: Object | None = None,
        content_type: str = _JSON,
        timeout: aiohttp.ClientTimeout = _REQUEST,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        parameters = [(key, value) for key, value in query.items() if value]
        try:
            prepared = await self._api.param_serialize(
                method, path, query_params=parameters, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._measured(_verb(method, query), self._api.call_api(*prepared, _request_timeout=timeout))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}: {error}") from error
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _measured(self, verb: str, call: Awaitable[Any]) -> Any:
        started, code = time.monotonic(), None
        try:
            answer = await call
            code = answer.response.status
        finally:
            self.metrics.answered(verb, code, time.monotonic() - started)
        return answer


_CHANGES: Final = frozenset({Change.ADDED.value, Change.MODIFIED.value, Change.DELETED.value})  # not BOOKMARK


class _Seen:
    """What a watch has reported, so that listing again reports differences alone, and what went away meanwhile."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._known: dict[str, Object] = {}  # by uid: the object without its content
        self._synced = False

    def note(self, change: Change, obj: Object) -> Notice:
        obj = _typed(self._kind, obj)
        if change is Change.DELETED:
            self._known.pop(obj["metadata"]["uid"], None)
        else:
            self._known[obj["metadata"]["uid"]] = {key: obj[key] for key in ("apiVersion", "kind", "metadata")}
        return Notice(change, obj)

    def relist(self, items: list[Object]) -> list[Notice]:
        present = {item["metadata"]["uid"] for item in items}
        notices = [self.note(Change.DELETED, obj) for uid, obj in list(self._known.items()) if uid not in present]
        for item in items:
            known = self._known.get(item["metadata"]["uid"])
            if known is None:
                notices.append(self.note(Change.ADDED, item))
            elif known["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                notices.append(self.note(Change.MODIFIED, item))
        if not self._synced:
            self._synced = True
            notices.append(Notice(Change.SYNCED, {}))
        return notices


class _Pause:
    """Growing pauses with jitter, so that a thousand watches don't come back in the same moment."""

    def __init__(self) -> None:
        self._seconds = _BACKOFF_SECONDS[0]

    def reset(self) -> None:
        self._seconds = _BACKOFF_SECONDS[0]

    async def wait(self) -> None:
        await asyncio.sleep(self._seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        self._seconds = min(2 * self._seconds, _BACKOFF_SECONDS[1])


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield whole lines of any length: aiohttp's own reader refuses those longer than its buffer."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else [rest + chunk]
        for line in whole:
            yield line


def _path(kind: Kind, namespace: str | None, name: str = "") -> str:
    parts = ["apis", kind.group, kind.version] if kind.group else ["api", kind.version]
    if kind.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts.append(kind.plural)
    if name:
        parts.append(name)
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _verb(method: str, query: Mapping[str, str]) -> str:
    if method != "GET":
        return _VERBS[method]
    return "watch" if "watch" in query else "list" if "labelSelector" in query else "get"


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _typed(kind: Kind, obj: Object) -> Object:
    """Name the kind in `obj`: the items of a list of built-in objects don't."""
    return {"apiVersion": kind.api_version, "kind": kind.kind, **obj}


def _error(status: int, content: bytes) -> ApiError:
    """Return the port's error for an answer: by its status, and between the two meanings of 409 by its reason."""
    try:
        answer: Any = json.loads(content)
    except ValueError:
        answer = {}
    found = answer if isinstance(answer, dict) else {}
    message = found.get("message") or content[:200].decode(errors="replace") or f"HTTP status {status}"
    if status == HTTPStatus.CONFLICT and found.get("reason") == "AlreadyExists":
        return AlreadyExists(message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(message)
    return _BY_STATUS.get(status, ApiError)(message)
