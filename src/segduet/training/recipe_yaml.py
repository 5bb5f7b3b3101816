"""YAML without two of its traps: `off` is a word, and a key may not stand twice (F57)."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

_BOOL = "tag:yaml.org,2002:bool"


def parse_yaml(text: str) -> Any:
    """What a YAML text says; only true and false are booleans, as in YAML 1.2.

    Raises:
        yaml.YAMLError: the text is not YAML, or a mapping has a key twice.
    """
    loader = _RecipeLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _RecipeLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - as in yaml
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"{twice} given twice")
        return super().construct_mapping(node, deep=deep)


_RecipeLoader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
