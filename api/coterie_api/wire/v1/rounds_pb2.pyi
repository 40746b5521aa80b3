from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VectorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VECTOR_KIND_UNSPECIFIED: _ClassVar[VectorKind]
    VECTOR_KIND_LAYOUT: _ClassVar[VectorKind]
    VECTOR_KIND_INITIAL: _ClassVar[VectorKind]
    VECTOR_KIND_PARAMETERS: _ClassVar[VectorKind]
    VECTOR_KIND_MASKED: _ClassVar[VectorKind]
VECTOR_KIND_UNSPECIFIED: VectorKind
VECTOR_KIND_LAYOUT: VectorKind
VECTOR_KIND_INITIAL: VectorKind
VECTOR_KIND_PARAMETERS: VectorKind
VECTOR_KIND_MASKED: VectorKind

class Frame(_message.Message):
    __slots__ = ("ack", "sequence", "hello", "challenge", "proof", "welcome", "control", "vector_begin", "chunk", "vector_end", "grant", "drop", "finished", "short_vector")
    ACK_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    VECTOR_BEGIN_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    VECTOR_END_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    DROP_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    SHORT_VECTOR_FIELD_NUMBER: _ClassVar[int]
    ack: int
    sequence: int
    hello: Hello
    challenge: Challenge
    proof: Proof
    welcome: Welcome
    control: Control
    vector_begin: VectorBegin
    chunk: Chunk
    vector_end: VectorEnd
    grant: Grant
    drop: Drop
    finished: Finished
    short_vector: ShortVector
    def __init__(self, ack: _Optional[int] = ..., sequence: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., challenge: _Optional[_Union[Challenge, _Mapping]] = ..., proof: _Optional[_Union[Proof, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., control: _Optional[_Union[Control, _Mapping]] = ..., vector_begin: _Optional[_Union[VectorBegin, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., vector_end: _Optional[_Union[VectorEnd, _Mapping]] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ..., drop: _Optional[_Union[Drop, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., short_vector: _Optional[_Union[ShortVector, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("version", "job_uid", "index", "instance", "spec_hash", "session", "received", "holds", "last_slot")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_UID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    LAST_SLOT_FIELD_NUMBER: _ClassVar[int]
    version: int
    job_uid: str
    index: int
    instance: bytes
    spec_hash: bytes
    session: bytes
    received: int
    holds: bytes
    last_slot: int
    def __init__(self, version: _Optional[int] = ..., job_uid: _Optional[str] = ..., index: _Optional[int] = ..., instance: _Optional[bytes] = ..., spec_hash: _Optional[bytes] = ..., session: _Optional[bytes] = ..., received: _Optional[int] = ..., holds: _Optional[bytes] = ..., last_slot: _Optional[int] = ...) -> None: ...

class Challenge(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class Proof(_message.Message):
    __slots__ = ("signature",)
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    signature: bytes
    def __init__(self, signature: _Optional[bytes] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("session", "received", "initial_hash")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    INITIAL_HASH_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    received: int
    initial_hash: bytes
    def __init__(self, session: _Optional[bytes] = ..., received: _Optional[int] = ..., initial_hash: _Optional[bytes] = ...) -> None: ...

class Control(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    def __init__(self, payload: _Optional[bytes] = ...) -> None: ...

class VectorBegin(_message.Message):
    __slots__ = ("kind", "tag", "length_bytes")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    LENGTH_BYTES_FIELD_NUMBER: _ClassVar[int]
    kind: VectorKind
    tag: int
    length_bytes: int
    def __init__(self, kind: _Optional[_Union[VectorKind, str]] = ..., tag: _Optional[int] = ..., length_bytes: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class VectorEnd(_message.Message):
    __slots__ = ("signature",)
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    signature: bytes
    def __init__(self, signature: _Optional[bytes] = ...) -> None: ...

class ShortVector(_message.Message):
    __slots__ = ("kind", "tag", "data", "signature")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    kind: VectorKind
    tag: int
    data: bytes
    signature: bytes
    def __init__(self, kind: _Optional[_Union[VectorKind, str]] = ..., tag: _Optional[int] = ..., data: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("is_accepted",)
    IS_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    is_accepted: bool
    def __init__(self, is_accepted: _Optional[bool] = ...) -> None: ...

class Drop(_message.Message):
    __slots__ = ("slot", "reason", "error_class", "where", "incident", "is_final")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    slot: int
    reason: str
    error_class: str
    where: str
    incident: str
    is_final: bool
    def __init__(self, slot: _Optional[int] = ..., reason: _Optional[str] = ..., error_class: _Optional[str] = ..., where: _Optional[str] = ..., incident: _Optional[str] = ..., is_final: _Optional[bool] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...
