from __future__ import annotations

from typing import Any

import pytest

from coterie_operator.handlers import DatasetNews, JobIndex


def job(name: str, *datasets: tuple[str, str], namespace: str = "research") -> dict[str, Any]:
    named = [{"namespace": tenant, "name": dataset} for tenant, dataset in datasets]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"participants": {"datasets": named}}}


def test_a_data_set_wakes_the_jobs_that_name_it_and_no_other() -> None:
    index = JobIndex()
    index.put(job("a", ("t1", "x"), ("t2", "x")))
    index.put(job("b", ("t1", "x")))
    index.put(job("c", ("t1", "y")))

    assert index.naming(("t1", "x")) == (("research", "a"), ("research", "b"))
    assert index.naming(("t2", "x")) == (("research", "a"),)
    assert index.naming(("t3", "x")) == ()


def test_a_namespace_wakes_the_jobs_in_it_and_the_jobs_with_data_there() -> None:
    index = JobIndex()
    index.put(job("a", ("t1", "x")))
    index.put(job("b", ("t2", "x"), namespace="t1"))

    assert index.touching("t1") == (("research", "a"), ("t1", "b"))
    assert index.touching("research") == (("research", "a"),)
    assert index.touching("elsewhere") == ()


def test_a_job_of_the_same_name_elsewhere_is_another_job() -> None:
    index = JobIndex()
    index.put(job("a", ("t1", "x"), namespace="one"))
    index.put(job("a", ("t1", "x"), namespace="two"))
    index.drop(("one", "a"))

    assert index.naming(("t1", "x")) == (("two", "a"),)


def test_a_changed_job_is_found_by_what_it_names_now_alone() -> None:
    index = JobIndex()
    index.put(job("a", ("t1", "x")))
    index.put(job("a", ("t2", "y")))

    assert index.naming(("t1", "x")) == ()
    assert index.touching("t1") == ()
    assert index.naming(("t2", "y")) == (("research", "a"),)


def test_a_job_that_is_gone_leaves_nothing_behind() -> None:
    index = JobIndex()
    index.put(job("a", ("t1", "x")))
    index.drop(("research", "a"))
    index.drop(("research", "a"))

    assert index.naming(("t1", "x")) == index.touching("t1") == index.touching("research") == ()
    assert not index._by_dataset
    assert not index._by_namespace


@pytest.mark.parametrize(
    "spec", [None, "text", {}, {"participants": None}, {"participants": {"datasets": "x"}}, {"participants": {"datasets": [None, "x", {}]}}]
)
def test_a_job_that_does_not_parse_is_still_found_in_its_namespace(spec: object) -> None:
    index = JobIndex()
    key = index.put({"metadata": {"name": "a", "namespace": "research"}, "spec": spec})

    assert key == ("research", "a")
    assert index.touching("research") == (key,)


SEEN = {"namespace": "t1", "name": "x", "uid": "u", "generation": 1}
CHANGES = {
    "another spec": ({**SEEN, "generation": 2}, False),
    "another object": ({**SEEN, "uid": "v"}, False),
    "deletion asked for": ({**SEEN, "deletionTimestamp": "2026-08-01T12:00:00Z"}, False),
    "deletion": (SEEN, True),
}


@pytest.mark.parametrize(("metadata", "is_gone"), CHANGES.values(), ids=CHANGES.keys())
def test_a_data_set_is_news_after(metadata: dict[str, Any], is_gone: bool) -> None:
    news = DatasetNews()

    assert news.is_news(SEEN, is_gone=False)
    assert news.is_news(metadata, is_gone=is_gone)


def test_a_data_set_whose_status_alone_changed_is_no_news_to_jobs() -> None:
    news = DatasetNews()
    news.is_news({**SEEN, "resourceVersion": "1"}, is_gone=False)

    assert not news.is_news({**SEEN, "resourceVersion": "2"}, is_gone=False)


def test_a_data_set_that_was_gone_is_news_again() -> None:
    news = DatasetNews()
    news.is_news(SEEN, is_gone=False)
    news.is_news(SEEN, is_gone=True)

    assert news.is_news(SEEN, is_gone=False)
    assert len(news._seen) == 1
