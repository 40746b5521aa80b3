"""What the Dockerfile promises an administrator, read from its text; that the images keep it is proved by running them."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from tests.unit.images.dockerfile import ROOT, TEXT, Dockerfile, parse

FILE = parse(TEXT)
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FINAL = ("operator", "worker")
MULTI_STAGE = {"requirements", "build"}
each_image = pytest.mark.parametrize("target", FINAL)
SECRET = re.compile(r"password|token|secret|credential|api_?key", re.IGNORECASE)


def foreign_bases(file: Dockerfile) -> list[str]:
    """Return what a stage is built from that is neither another stage nor an argument with a version."""
    return [stage.base for stage in file.stages.values() if stage.base not in file.stages and not is_pinned(stage.base, file.arguments)]


def is_pinned(base: str, arguments: dict[str, str]) -> bool:
    found = re.fullmatch(r"\$\{(\w+)\}", base)
    return found is not None and re.search(r":[^/]*\d[^/]*$|@sha256:", arguments.get(found[1], "")) is not None


def test_every_base_is_an_argument_with_a_version() -> None:
    assert foreign_bases(FILE) == []


@pytest.mark.parametrize(
    "text",
    [
        "FROM python:3.13-slim AS operator",
        "ARG PYTHON_IMAGE\nFROM ${PYTHON_IMAGE} AS operator",
        "ARG PYTHON_IMAGE=python\nFROM ${PYTHON_IMAGE} AS operator",
        "ARG PYTHON_IMAGE=python:latest\nFROM ${PYTHON_IMAGE} AS operator",
        "ARG PYTHON_IMAGE=registry.example:5000/python\nFROM ${PYTHON_IMAGE} AS operator",
        "ARG PYTHON_IMAGE=python:3.13\nFROM ${PYTHON_IMAGE} AS build\nFROM scratch AS operator",
    ],
)
def test_a_base_that_can_move_or_not_be_chosen_is_found(text: str) -> None:
    assert foreign_bases(parse(text)) != []


def test_nothing_is_called_latest() -> None:
    assert "latest" not in TEXT


@each_image
def test_the_user_is_a_number_that_is_not_root_with_the_group_of_arbitrary_users(target: str) -> None:
    user = FILE.last(target, "USER")

    assert user is not None
    assert re.fullmatch(r"[1-9]\d*:0", user)


@each_image
def test_no_step_after_the_user_could_write_as_root(target: str) -> None:
    """The last instructions only describe: whatever copies or runs comes before USER, as root, so that pods can't change it."""
    steps = [instruction for instruction, _ in FILE.stages[target].steps]

    assert not {"COPY", "ADD", "RUN"} & set(steps[steps.index("USER") :])


@each_image
@pytest.mark.parametrize("instruction", ["ENTRYPOINT", "CMD"])
def test_no_entry_point_needs_a_shell(target: str, instruction: str) -> None:
    value = FILE.last(target, instruction)
    words = ["coterie"] if value is None else json.loads(value)  # a text without brackets would go through /bin/sh

    assert words[0] not in {"sh", "bash", "/bin/sh", "/bin/bash", "env"}


@each_image
@pytest.mark.parametrize("label", ["title", "description", "source", "documentation", "version", "revision", "licenses", "base.name"])
def test_each_image_says_what_it_is(target: str, label: str) -> None:
    assert FILE.pairs(target, "LABEL")[f"org.opencontainers.image.{label}"]


@each_image
def test_the_license_is_the_projects(target: str) -> None:
    assert FILE.pairs(target, "LABEL")["org.opencontainers.image.licenses"] == PROJECT["license"]


@each_image
def test_the_documentation_label_leads_to_a_page(target: str) -> None:
    url = FILE.pairs(target, "LABEL")["org.opencontainers.image.documentation"]

    assert (ROOT / url.partition("/blob/main/")[2]).is_file()


@each_image
@pytest.mark.parametrize("name", ["VERSION", "REVISION"])
def test_what_changes_with_each_build_comes_after_everything_that_costs(target: str, name: str) -> None:
    steps = FILE.stages[target].steps
    after = [instruction for instruction, rest in steps[[rest.partition("=")[0] for _, rest in steps].index(name) :]]

    assert set(after) <= {"ARG", "LABEL"}


def installs(file: Dockerfile) -> list[str]:
    """Return every command that takes a package from an index."""
    commands = [part for stage in file.stages.values() for run in stage.all("RUN") for part in re.split(r"&&|;", run)]
    return [command.strip() for command in commands if re.search(r"pip .*(install|wheel|download)", command) and "--no-deps" not in command]


def test_every_install_is_held_to_the_constraints() -> None:
    assert len(installs(FILE)) == 3  # the tools, and the dependencies of each image
    assert [command for command in installs(FILE) if "--constraint" not in command] == []


def test_an_install_without_constraints_is_found() -> None:
    file = parse("ARG B=python:3\nFROM ${B} AS x\nRUN true && /tools/bin/pip --python /x install torch")

    assert installs(file) == ["/tools/bin/pip --python /x install torch"]


def test_the_package_itself_brings_no_dependency() -> None:
    """Its dependencies are in the layer below, or a change of source would install them again."""
    commands = [command for stage in FILE.stages.values() for command in stage.all("RUN") if "/wheel" in command]

    assert commands
    for command in commands:
        assert command.count("--no-deps") == len(re.findall(r"pip .*?(?:wheel --|install --)", command))


@pytest.mark.parametrize("stage", ["operator-dependencies", "worker-dependencies"])
def test_dependencies_know_nothing_of_the_source(stage: str) -> None:
    copied = [value for each in FILE.line(stage) for value in each.all("COPY")]

    assert copied
    assert all(value.startswith("--from=requirements ") for value in copied)
    assert FILE.stages["requirements"].all("COPY") == ["pyproject.toml constraints.txt ./"]


@each_image
def test_the_package_is_the_only_thing_that_a_change_of_source_copies(target: str) -> None:
    assert FILE.stages[target].all("COPY") == [f"--from=build /{target}/opt/coterie /opt/coterie"]
    assert FILE.stages[target].all("RUN") == []


@each_image
def test_stages_with_tools_are_not_below_an_image(target: str) -> None:
    assert set(FILE.stages) >= MULTI_STAGE
    assert not MULTI_STAGE & {stage.name for stage in FILE.line(target)}


@each_image
def test_an_unknown_user_has_a_home_and_a_name(target: str) -> None:
    env = FILE.pairs(target, "ENV")

    assert env["HOME"] == "/tmp"
    assert env["USER"] == env["LOGNAME"] != ""


@each_image
def test_no_folder_that_a_pod_can_write_is_on_the_import_path(target: str) -> None:
    env = FILE.pairs(target, "ENV")

    assert env["PYTHONSAFEPATH"] == "1"  # or `python -m` would look into the working folder, /tmp, first
    assert not [path for path in env.get("PYTHONPATH", "").split(":") if path.startswith("/tmp")]


def test_no_secret_is_an_argument_or_stays_in_the_environment() -> None:
    names = [*FILE.arguments, *(value.partition("=")[0] for stage in FILE.stages.values() for value in stage.all("ARG"))]
    env = [key for target in FINAL for key in FILE.pairs(target, "ENV")]

    assert [name for name in [*names, *env] if SECRET.search(name)] == []


def test_people_choose_python_torch_and_its_index() -> None:
    names = {*FILE.arguments, *(value.partition("=")[0] for stage in FILE.stages.values() for value in stage.all("ARG"))}

    assert {"PYTHON_IMAGE", "TORCH", "TORCH_INDEX", "GPU"} <= names


def test_the_context_holds_only_what_is_copied() -> None:
    """A file that isn't listed can't leak into a layer: keys, data and virtual environments lie beside the source."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    listed = {line[1:] for line in lines if line.startswith("!")}
    sources = [value.split()[:-1] for stage in FILE.stages.values() for value in stage.all("COPY") if not value.startswith("--from")]

    assert lines[0] == "*"
    assert listed == {name for names in sources for name in names}
