from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import pytest
from tests.unit.coterie_operator.kube.virtual_time import now, run

from coterie_operator.cluster import (
    BATCH_JOB,
    CONFIG_MAP,
    FEDERATED_JOB,
    NAMESPACE,
    AlreadyExists,
    ApiError,
    Change,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Notice,
    Object,
    Unavailable,
)
from coterie_operator.kube import KubeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Answer:
    """What the API server answers to one request; chunks of a stream may be errors."""

    body: Object | None = None
    status: int = 200
    chunks: list[bytes | Exception] = field(default_factory=list)
    hangs: bool = False

    async def read(self) -> bytes:
        return json.dumps(self.body).encode()

    def close(self) -> None:
        return None

    @property
    def content(self) -> Any:
        return SimpleNamespace(iter_any=self._stream)

    async def _stream(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk
        if self.hangs:
            await asyncio.get_running_loop().create_future()


class Api:
    """The client library's two calls, answering from a script and recording what was asked."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = deque(answers)
        self.asked: list[str] = []
        self.bodies: list[Object | None] = []
        self.content_types: list[str] = []

    async def param_serialize(self, method: str, path: str, **parts: Any) -> tuple[Any, ...]:
        query = urlencode(parts["query_params"])
        self.content_types.append(parts["header_params"]["Content-Type"])
        return method, path + ("?" + query if query else ""), parts["body"]

    async def call_api(self, method: str, url: str, body: Object | None, **_: Any) -> Any:
        self.asked.append(f"{method} {url}")
        self.bodies.append(body)
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(response=answer)


def refusal(status: int, reason: str, message: str = "no") -> Answer:
    return Answer({"kind": "Status", "code": status, "reason": reason, "message": message}, status)


def item(name: str, version: int, **metadata: Any) -> Object:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), **metadata}}


def listing(version: int, *items: Object, following: str = "") -> Answer:
    return Answer({"metadata": {"resourceVersion": str(version), "continue": following}, "items": list(items)})


def event(change: str, obj: Object) -> bytes:
    return json.dumps({"type": change, "object": obj}).encode() + b"\n"


def stream(*chunks: bytes | Exception, hangs: bool = True) -> Answer:
    return Answer(chunks=list(chunks), hangs=hangs)


async def first(watch: AsyncIterator[Notice], count: int) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(600):
        while len(seen) < count:
            notice = await anext(watch)
            seen.append((notice.change.value, notice.obj.get("metadata", {}).get("name", "")))
    return seen


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(400, "BadRequest"), Invalid),
        (refusal(401, "Unauthorized"), Unavailable),
        (refusal(403, "Forbidden"), Forbidden),
        (refusal(404, "NotFound"), NotFound),
        (refusal(409, "AlreadyExists"), AlreadyExists),
        (refusal(409, "Conflict"), Conflict),
        (refusal(409, ""), Conflict),
        (refusal(413, "RequestEntityTooLarge"), Invalid),
        (refusal(422, "Invalid"), Invalid),
        (refusal(429, "TooManyRequests"), Unavailable),
        (refusal(500, "InternalError"), Unavailable),
        (refusal(503, "ServiceUnavailable"), Unavailable),
        (refusal(504, "Timeout"), Unavailable),
        (refusal(418, "Teapot"), ApiError),
        (aiohttp.ClientConnectionError("refused"), Unavailable),
        (TimeoutError(), Unavailable),
        (ConnectionResetError(), Unavailable),
    ],
)
async def test_each_refusal_is_the_error_that_a_caller_can_act_on(answer: Answer | Exception, error: type[ApiError]) -> None:
    cluster = KubeCluster(Api(answer))  # type: ignore[arg-type]

    with pytest.raises(ApiError) as caught:
        await cluster.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "n"}})

    assert type(caught.value) is error


async def test_an_error_carries_the_api_servers_own_message() -> None:
    cluster = KubeCluster(Api(refusal(403, "Forbidden", "exceeded quota: few")))  # type: ignore[arg-type]

    with pytest.raises(Forbidden, match="exceeded quota: few"):
        await cluster.get(CONFIG_MAP, "n", "a")


async def test_an_answer_that_is_no_json_is_still_an_error() -> None:
    class Page(Answer):
        async def read(self) -> bytes:
            return b"<html>bad gateway"

    with pytest.raises(Unavailable, match="bad gateway"):
        await KubeCluster(Api(Page(status=502))).get(CONFIG_MAP, "n", "a")  # type: ignore[arg-type]


async def test_requests_go_where_the_kind_is_served() -> None:
    api = Api(*[Answer({}) for _ in range(5)])
    cluster = KubeCluster(api)  # type: ignore[arg-type]
    await cluster.get(CONFIG_MAP, "n", "a")
    await cluster.get(NAMESPACE, "", "n")
    await cluster.create(BATCH_JOB, {"metadata": {"name": "j", "namespace": "n"}})
    await cluster.patch(FEDERATED_JOB, "n", "f", {"status": {"round": 1}}, status=True)
    await cluster.delete(BATCH_JOB, "n", "j", uid="u")

    assert api.asked == [
        "GET /api/v1/namespaces/n/configmaps/a",
        "GET /api/v1/namespaces/n",
        "POST /apis/batch/v1/namespaces/n/jobs",
        "PATCH /apis/coterie.dev/v1alpha1/namespaces/n/federatedjobs/f/status",
        "DELETE /apis/batch/v1/namespaces/n/jobs/j",
    ]
    assert api.content_types[3] == "application/merge-patch+json"
    assert api.bodies[4] == {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": {"uid": "u"}}


async def test_a_name_can_not_leave_its_path() -> None:
    api = Api(Answer({}))
    await KubeCluster(api).get(CONFIG_MAP, "n", "../secrets/a?x=1")  # type: ignore[arg-type]

    assert api.asked == ["GET /api/v1/namespaces/n/configmaps/..%2Fsecrets%2Fa%3Fx%3D1"]


async def test_deleting_what_is_gone_is_no_error() -> None:
    await KubeCluster(Api(refusal(404, "NotFound"))).delete(CONFIG_MAP, "n", "a")  # type: ignore[arg-type]


async def test_deleting_another_life_is_a_conflict() -> None:
    with pytest.raises(Conflict):
        await KubeCluster(Api(refusal(409, "Conflict"))).delete(CONFIG_MAP, "n", "a", uid="u")  # type: ignore[arg-type]


async def test_a_list_is_read_to_its_last_page_and_names_its_kind() -> None:
    api = Api(listing(5, item("a", 1), following="more"), listing(5, item("b", 2)))
    found = await KubeCluster(api).list(CONFIG_MAP, None, {"app": "x", "role": "y"})  # type: ignore[arg-type]

    assert [(obj["kind"], obj["metadata"]["name"]) for obj in found] == [("ConfigMap", "a"), ("ConfigMap", "b")]
    assert api.asked[0] == "GET /api/v1/configmaps?labelSelector=app%3Dx%2Crole%3Dy&limit=500"
    assert api.asked[1].endswith("&continue=more")


async def test_a_list_whose_pages_expired_is_read_again_at_once() -> None:
    api = Api(listing(5, item("a", 1), following="more"), refusal(410, "Expired"), listing(9, item("a", 1), item("b", 2)))
    found = await KubeCluster(api).list(CONFIG_MAP, "n")  # type: ignore[arg-type]

    assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
    assert api.asked[2] == "GET /api/v1/namespaces/n/configmaps"


def test_a_watch_goes_on_where_the_server_ended_it() -> None:
    async def program() -> None:
        api = Api(listing(5), stream(event("ADDED", item("a", 6)), hangs=False), stream(event("MODIFIED", item("a", 7))))
        seen = await first(KubeCluster(api).watch(CONFIG_MAP, "n"), 3)  # type: ignore[arg-type]

        assert seen == [("SYNCED", ""), ("ADDED", "a"), ("MODIFIED", "a")]
        assert "resourceVersion=5&" in api.asked[1]
        assert "resourceVersion=6&" in api.asked[2]

    run(program())


def test_a_bookmark_moves_the_version_and_is_not_told() -> None:
    async def program() -> None:
        mark = event("BOOKMARK", {"metadata": {"resourceVersion": "50"}})
        api = Api(listing(5), stream(mark, hangs=False), stream(event("ADDED", item("a", 51))))
        seen = await first(KubeCluster(api).watch(CONFIG_MAP, "n"), 2)  # type: ignore[arg-type]

        assert seen == [("SYNCED", ""), ("ADDED", "a")]
        assert "resourceVersion=50&" in api.asked[2]

    run(program())


@pytest.mark.parametrize("expiry", [refusal(410, "Expired"), stream(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))])
def test_a_watch_too_old_lists_again_and_tells_the_differences_alone(expiry: Answer) -> None:
    async def program() -> None:
        before = listing(5, item("same", 1), item("changed", 2), item("gone", 3), item("reborn", 4))
        reborn = item("reborn", 11) | {"metadata": {"name": "reborn", "uid": "another", "resourceVersion": "11"}}
        after = listing(20, item("same", 1), item("changed", 12), reborn, item("new", 13))
        api = Api(before, expiry, after, stream())
        seen = await first(KubeCluster(api).watch(CONFIG_MAP, "n"), 5 + 5)  # type: ignore[arg-type]

        assert seen[4] == ("SYNCED", "")
        assert seen[5:] == [("DELETED", "gone"), ("DELETED", "reborn"), ("MODIFIED", "changed"), ("ADDED", "reborn"), ("ADDED", "new")]

    run(program())


def test_an_object_that_was_told_as_deleted_is_not_told_again() -> None:
    async def program() -> None:
        api = Api(
            listing(5, item("a", 1)), stream(event("DELETED", item("a", 6)), hangs=False), refusal(410, "Expired"), listing(9), stream()
        )
        watch = KubeCluster(api).watch(CONFIG_MAP, "n")  # type: ignore[arg-type]
        seen = await first(watch, 3)
        with pytest.raises(TimeoutError):
            await first(watch, 1)

        assert seen == [("ADDED", "a"), ("SYNCED", ""), ("DELETED", "a")]

    run(program())


def test_a_broken_watch_comes_back_with_growing_pauses() -> None:
    async def program() -> None:
        broken: list[Answer | Exception] = [aiohttp.ClientConnectionError("refused") for _ in range(6)]
        api = Api(listing(5), *broken, stream(event("ADDED", item("a", 6))))
        seen = await first(KubeCluster(api).watch(CONFIG_MAP, "n"), 2)  # type: ignore[arg-type]

        assert seen == [("SYNCED", ""), ("ADDED", "a")]
        assert 0.5 * (0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 6.4) <= now() <= 13

    run(program())


@pytest.mark.parametrize("trouble", [TimeoutError(), aiohttp.ClientPayloadError("cut off"), aiohttp.ServerDisconnectedError()])
def test_a_silent_or_cut_connection_is_replaced(trouble: Exception) -> None:
    async def program() -> None:
        api = Api(listing(5), stream(trouble), stream(event("ADDED", item("a", 6))))
        seen = await first(KubeCluster(api).watch(CONFIG_MAP, "n"), 2)  # type: ignore[arg-type]

        assert seen == [("SYNCED", ""), ("ADDED", "a")]

    run(program())


def test_a_server_that_ends_each_watch_at_once_is_not_hammered() -> None:
    async def program() -> None:
        endings: list[Answer | Exception] = [stream(hangs=False) for _ in range(50)]
        api = Api(listing(5), *endings, stream(event("ADDED", item("a", 6))))
        await first(KubeCluster(api).watch(CONFIG_MAP, "n"), 2)  # type: ignore[arg-type]

        assert now() >= 5

    run(program())


@pytest.mark.parametrize(("status", "error"), [(403, Forbidden), (404, NotFound)])
def test_a_refused_watch_is_raised_to_whoever_watches(status: int, error: type[ApiError]) -> None:
    async def program() -> None:
        with pytest.raises(error):
            await first(KubeCluster(Api(refusal(status, ""))).watch(CONFIG_MAP, "n"), 1)  # type: ignore[arg-type]
        revoked = Api(listing(5), stream(hangs=False), refusal(status, ""))
        with pytest.raises(error):
            await first(KubeCluster(revoked).watch(CONFIG_MAP, "n"), 2)  # type: ignore[arg-type]

    run(program())


def test_an_api_server_that_is_down_at_the_start_is_waited_for() -> None:
    async def program() -> None:
        api = Api(aiohttp.ClientConnectionError("refused"), refusal(503, ""), listing(5, item("a", 1)), stream())
        seen = await first(KubeCluster(api).watch(CONFIG_MAP, "n"), 2)  # type: ignore[arg-type]

        assert seen == [("ADDED", "a"), ("SYNCED", "")]

    run(program())


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_are_whole_however_the_stream_is_cut(size: int) -> None:
    async def program() -> None:
        whole = (
            event("ADDED", item("a", 6))
            + event("MODIFIED", item("a", 7, annotations={"long": "x" * 3000}))
            + event("DELETED", item("a", 8))
        )
        chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
        seen = await first(KubeCluster(Api(listing(5), stream(*chunks))).watch(CONFIG_MAP, "n"), 4)  # type: ignore[arg-type]

        assert seen == [(Change.SYNCED.value, ""), ("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    run(program())
