"""Where settings come from, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from everopen.base.errors import ConfigError
from everopen.config import load, sections


def test_every_setting_has_a_default_and_a_description() -> None:
    _, settings = load({})
    assert {setting.name.split(".")[0] for setting in settings} == set(sections())
    assert [setting.name for setting in settings if not setting.description] == []


def test_the_environment_beats_the_file_and_the_file_the_default(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('[cluster]\nstandbys = 2\ndurability = "strict"\n')
    configuration, settings = load({"EVEROPEN_CONFIG": str(path), "EVEROPEN_CLUSTER_STANDBYS": "0"})
    assert configuration.cluster.standbys == 0
    assert configuration.cluster.durability == "strict"
    sources = {setting.name: setting.source for setting in settings}
    assert sources["cluster.standbys"] == "EVEROPEN_CLUSTER_STANDBYS"
    assert sources["cluster.durability"] == str(path)
    assert sources["shop.port"] == "default"


WRONG = {
    "[clusters]\nstandbys = 1": "did you mean 'cluster'",
    "[cluster]\nstandby = 1": "did you mean 'standbys'",
    "[cluster]\nstandbys = 7": "cluster.standbys = 7",
    "[cluster]\nstandbys = 'two'": "cluster.standbys = 'two'",
    "[cluster]\nstandbys = ": "can't be read as TOML",
    "[gateway]\npolicy = 'best'": "round_robin",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_setting_is_named_with_what_is_right(tmp_path: Path, text: str) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r".") as caught:
        load({"EVEROPEN_CONFIG": str(path)})
    assert WRONG[text] in str(caught.value)


def test_a_configuration_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load({"EVEROPEN_CONFIG": str(tmp_path / "nowhere.toml")})


def test_a_wrong_value_in_the_environment_names_the_variable() -> None:
    with pytest.raises(ConfigError, match="EVEROPEN_SHOP_PORT"):
        load({"EVEROPEN_SHOP_PORT": "eighty"})
