"""A tenant's policy as its owner writes it, before `coterie keygen` pins it beside the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from coterie_api.errors import InvalidObject
from coterie_api.fields import parse
from coterie_api.podconfig import TenantPolicy

if TYPE_CHECKING:
    from pathlib import Path


class BadPolicy(Exception):
    """The file holds no policy; the text says why, one fault a line."""


def read_policy(path: Path) -> TenantPolicy:
    """Return the policy in a YAML (or JSON) file, with the fields of a data set's `requirements` and `members`.

    Raises:
      BadPolicy: not YAML, or an unknown field or a value that is not allowed.
    """
    try:
        return parse(TenantPolicy, yaml.safe_load(path.read_text()), where="")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadPolicy(f"{path}: not YAML ({type(error).__name__})") from None
    except InvalidObject as error:
        raise BadPolicy("\n".join(f"{path}: {each}" for each in error.errors)) from None
