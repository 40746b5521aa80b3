"""Metadata of objects, and the text formats that several fields share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from coterie_api.shape import About

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_1035_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
MAX_JOB_NAME = 40

Label = Annotated[
    str, About(pattern=DNS_LABEL, pattern_says="lower case letters, digits and '-' between them", min_length=1, max_length=63)
]
Subdomain = Annotated[
    str, About(pattern=DNS_SUBDOMAIN, pattern_says="lower case letters, digits, '-' and '.' between them", min_length=1, max_length=253)
]
RelativePath = Annotated[
    str,
    About(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
        pattern_says="a relative path whose parts begin with a letter, digit or '_'",
        max_length=512,
    ),
]
ImageReference = Annotated[
    str,
    About(
        pattern=r"^[a-z0-9][A-Za-z0-9._:/@-]*$",
        pattern_says="an image reference such as registry.example/train@sha256:…",
        min_length=1,
        max_length=512,
    ),
]
Timestamp = Annotated[
    str,
    About(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$",
        pattern_says="a UTC time such as 2027-06-30T00:00:00Z",
        max_length=32,
        format="date-time",
    ),
]
Sentence = Annotated[str, About(max_length=1024)]


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """The part of Kubernetes' metadata that Coterie reads; the rest passes by."""

    OPEN: ClassVar[bool] = True

    name: Annotated[Subdomain, About("Name of the object.")]
    namespace: Annotated[str, About("Namespace of the object.")] = ""
    uid: Annotated[str, About("Identity of the object; a recreated one has another.")] = ""
    generation: Annotated[int, About("Counts changes of the spec.")] = 0
    resource_version: Annotated[str, About("Version for optimistic concurrency.")] = ""
    creation_timestamp: Annotated[str, About("When the object was created.")] = ""
    deletion_timestamp: Annotated[str | None, About("When deletion was asked for.")] = None
    labels: Annotated[Mapping[str, str], About("Labels.")] = field(default_factory=dict)
    annotations: Annotated[Mapping[str, str], About("Annotations.")] = field(default_factory=dict)
    finalizers: Annotated[tuple[str, ...], About("What must happen before the object goes.")] = ()
