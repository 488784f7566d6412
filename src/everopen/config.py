"""One typed configuration, gathered from the rooms: defaults, then the file, then the environment.

A setting `[cluster] standbys` is `EVEROPEN_CLUSTER_STANDBYS` in the environment. Unknown sections and fields are
errors, with the nearest known name: a typing mistake must not silently leave a default in place.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from everopen.api.settings import ApiSettings
from everopen.base.errors import ConfigError
from everopen.cluster.settings import ClusterSettings
from everopen.console.settings import ConsoleSettings
from everopen.drill.settings import DrillSettings
from everopen.gateway.settings import GatewaySettings
from everopen.recover.settings import RecoverSettings
from everopen.store.settings import StoreSettings
from everopen.trading.events.settings import EventsSettings
from everopen.trading.payments.settings import SandboxSettings, StripeSettings
from everopen.trading.people.settings import PeopleSettings
from everopen.trading.settings import TradingSettings


class ShopSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the shop listens and what it opens with."""

    host: Annotated[str, Meta(description="Address the gateways listen on.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port of the shop and its API. 0: any free one.")
    ] = 8080
    catalogue: Annotated[
        str,
        Meta(
            description="What a new shop opens with: sample (the month of a real shop that is shipped), none, or a CSV file."
        ),
    ] = "sample"
    opening_stock: Annotated[
        int, Meta(ge=0, le=10_000_000, description="Goods receipt per product of that catalogue.")
    ] = 1000
    production: Annotated[
        bool,
        Meta(
            description="A shop that real customers use: drills refuse to break it without --yes-production."
        ),
    ] = False
    beat_deadline_s: Annotated[
        float,
        Meta(
            gt=1,
            le=600,
            description="A supervisor whose loop has not turned for so long is replaced (the shop goes on meanwhile).",
        ),
    ] = 15.0


class Configuration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a shop, one section per room."""

    shop: ShopSettings = ShopSettings()
    console: ConsoleSettings = ConsoleSettings()
    cluster: ClusterSettings = ClusterSettings()
    recover: RecoverSettings = RecoverSettings()
    gateway: GatewaySettings = GatewaySettings()
    api: ApiSettings = ApiSettings()
    trading: TradingSettings = TradingSettings()
    people: PeopleSettings = PeopleSettings()
    events: EventsSettings = EventsSettings()
    store: StoreSettings = StoreSettings()
    sandbox: SandboxSettings = SandboxSettings()
    stripe: StripeSettings = StripeSettings()
    drill: DrillSettings = DrillSettings()


class Setting(Struct, frozen=True):
    """One setting as `everopen config` shows it."""

    name: str
    value: Any
    source: str
    description: str


def sections() -> dict[str, type[Struct]]:
    """Section name to settings class."""
    return {name: hint for name, hint in get_type_hints(Configuration).items() if isinstance(hint, type)}


def description(annotation: Any) -> str:
    """The description of an annotated field."""
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, Meta) and extra.description:
                return extra.description
    return ""


def load(environment: Mapping[str, str] | None = None) -> tuple[Configuration, list[Setting]]:
    """The effective configuration and where each value came from. Raises ConfigError naming the setting."""
    env = os.environ if environment is None else environment
    named = env.get("EVEROPEN_CONFIG")
    path = Path(named or "everopen.toml")
    values: dict[str, dict[str, Any]] = {name: {} for name in sections()}
    sources: dict[str, str] = {}
    if path.exists():
        _read_file(path, values, sources)
    elif named:
        raise ConfigError(
            f"EVEROPEN_CONFIG names {named}, which does not exist.",
            "Make that file, or unset EVEROPEN_CONFIG: every setting has a default.",
        )
    _read_environment(env, values, sources)
    built: dict[str, Struct] = {}
    for section, kind in sections().items():
        for field, value in values[section].items():
            _check_one(section, field, value, kind, sources)
        try:
            built[section] = msgspec.convert(values[section], kind)
        except (msgspec.ValidationError, ValueError) as error:
            raise ConfigError(f"[{section}] {error}.") from error
    configuration = Configuration(**built)  # type: ignore[arg-type]
    return configuration, _describe(configuration, sources)


def _check_one(section: str, field: str, value: Any, kind: type[Struct], sources: Mapping[str, str]) -> None:
    name = f"{section}.{field}"
    try:
        msgspec.convert({field: value}, kind)
    except (msgspec.ValidationError, ValueError) as error:
        text = str(error).split(" - at ")[0]
        raise ConfigError(f"{name} = {value!r} ({sources[name]}): {text}.") from error


def _read_file(path: Path, values: dict[str, dict[str, Any]], sources: dict[str, str]) -> None:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} can't be read as TOML: {error}.", "Mend the line it names.") from error
    for section, fields in document.items():
        if section not in values or not isinstance(fields, dict):
            raise ConfigError(f"{path} has an unknown section [{section}]{_nearest(section, values)}.")
        known = {field.name for field in msgspec.structs.fields(sections()[section])}
        for field, value in fields.items():
            if field not in known:
                raise ConfigError(f"{path}: [{section}] has no setting {field!r}{_nearest(field, known)}.")
            values[section][field] = value
            sources[f"{section}.{field}"] = str(path)


def _read_environment(
    env: Mapping[str, str], values: dict[str, dict[str, Any]], sources: dict[str, str]
) -> None:
    for section, kind in sections().items():
        for field in msgspec.structs.fields(kind):
            variable = f"EVEROPEN_{section}_{field.name}".upper()
            if variable in env:
                text = env[variable]
                try:
                    values[section][field.name] = msgspec.convert(text, field.type, strict=False)
                except msgspec.ValidationError as error:
                    raise ConfigError(f"{variable}={text!r}: {error}.") from error
                sources[f"{section}.{field.name}"] = variable


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _describe(configuration: Configuration, sources: Mapping[str, str]) -> list[Setting]:
    described = []
    for section, kind in sections().items():
        hints = get_type_hints(kind, include_extras=True)
        for field in msgspec.structs.fields(kind):
            name = f"{section}.{field.name}"
            value = getattr(getattr(configuration, section), field.name)
            described.append(
                Setting(name, value, sources.get(name, "default"), description(hints[field.name]))
            )
    return described
