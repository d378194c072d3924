"""Loading the settings: every mistake at once, by source, key and value; secrets nowhere."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from worker.configuration import Mistake, known_secrets, load, show
from worker.settings import Settings
from worker.settings_schema import env_name, every_field

GOOD = """
[accounts.main]
client_id = "id"
[stores.default]
account = "main"
"""
SECRET = {"ORDER_SYNC_ACCOUNTS__MAIN__CLIENT_SECRET": "s3cr3t-value"}

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "order-sync.toml"
        path.write_text(text)
        return path

    return write


def settings(loaded: Settings | list[Mistake]) -> Settings:
    assert isinstance(loaded, Settings), [str(one) for one in loaded]
    return loaded


def mistakes(loaded: Settings | list[Mistake]) -> dict[str, Mistake]:
    assert not isinstance(loaded, Settings)
    by_key = {one.key: one for one in loaded}
    assert len(by_key) == len(loaded), "two mistakes for one key"
    return by_key


def test_the_smallest_file_and_a_secret_from_the_environment(write: Write) -> None:
    loaded = settings(load(write(GOOD), SECRET))
    secret = loaded.accounts["main"].client_secret
    assert secret is not None
    assert secret.get_secret_value() == "s3cr3t-value"
    assert loaded.timing.slo_seconds == 300


def test_the_environment_alone_is_enough() -> None:
    env = SECRET | {"ORDER_SYNC_ACCOUNTS__MAIN__CLIENT_ID": "id", "ORDER_SYNC_STORES__SHOP__ACCOUNT": "main"}
    assert set(settings(load(None, env)).stores) == {"shop"}


def test_the_file_can_be_named_by_the_environment(write: Write) -> None:
    assert settings(load(None, SECRET | {"ORDER_SYNC_CONFIG": str(write(GOOD))})).accounts["main"].client_id == "id"


def test_the_environment_wins_and_text_becomes_numbers(write: Write) -> None:
    env = SECRET | {
        "ORDER_SYNC_TIMING__SLO_SECONDS": "12.5",
        "ORDER_SYNC_LIMITS__MIN_TRIES": "7",
        "ORDER_SYNC_STORES__DEFAULT__PAUSED": "true",
        "ORDER_SYNC_KAFKA__BOOTSTRAP_SERVERS": "a:1,b:2",
    }
    loaded = settings(load(write(GOOD + "[timing]\nslo_seconds = 5\n"), env))
    assert loaded.timing.slo_seconds == 12.5
    assert loaded.limits.min_tries == 7
    assert loaded.stores["default"].paused is True
    assert loaded.kafka.bootstrap_servers == "a:1,b:2"


@pytest.mark.parametrize("name", ["us-east", "US_East", "us.east", "us east", "us__east"])
def test_a_variable_finds_an_existing_name_whatever_its_spelling(write: Write, name: str) -> None:
    """Variables know capitals and `_` only."""
    text = f'[accounts."{name}"]\nclient_id = "id"\n[stores.default]\naccount = "{name}"\n'
    loaded = settings(load(write(text), {env_name(("accounts", name, "client_secret")): "s3cr3t-value"}))
    assert list(loaded.accounts) == [name]
    assert loaded.accounts[name].client_secret == SecretStr("s3cr3t-value")


def test_names_a_variable_cannot_tell_apart_are_a_mistake(write: Write) -> None:
    text = GOOD + '[stores.a-b]\naccount = "main"\n[stores.a_b]\naccount = "main"\n'
    assert settings(load(write(text), SECRET))
    found = mistakes(load(write(text), SECRET | {"ORDER_SYNC_STORES__A_B__PAUSED": "1"}))
    assert found["stores"].source == "ORDER_SYNC_STORES__A_B__PAUSED"
    assert "a-b and a_b" in found["stores"].message


def test_tables_in_variables(write: Write) -> None:
    text = GOOD + '[stores.default.carriers]\n"freight_co:ltl" = "ESTES"\n'
    env = SECRET | {
        "ORDER_SYNC_STORES__DEFAULT__CARRIERS__FREIGHT_CO_LTL": "UPS",
        "ORDER_SYNC_STORES__DEFAULT__CARRIERS__DPD": "DHL",
        "ORDER_SYNC_STORES__DEFAULT__REASONS": '{"Oops": "SELLER_CANCEL_PRICING_ERROR"}',
    }
    store = settings(load(write(text), env)).stores["default"]
    assert store.carriers == {"freight_co:ltl": "UPS", "dpd": "DHL"}
    assert store.reasons == {"Oops": "SELLER_CANCEL_PRICING_ERROR"}
    found = mistakes(load(write(text), SECRET | {"ORDER_SYNC_STORES__DEFAULT__REASONS": "{no json"}))
    assert "JSON" in found["stores.default.reasons"].message


def test_an_empty_variable_means_absent_where_that_is_possible(write: Write) -> None:
    text = GOOD + '[kafka]\ngroup_instance_id = "x"\n'
    loaded = settings(load(write(text), SECRET | {"ORDER_SYNC_KAFKA__GROUP_INSTANCE_ID": ""}))
    assert loaded.kafka.group_instance_id is None
    found = mistakes(load(write(text), {"ORDER_SYNC_ACCOUNTS__MAIN__CLIENT_SECRET": ""}))
    assert found["accounts.main.client_secret"].message == "is empty"
    assert set(found) == {"accounts.main.client_secret"}


def test_every_mistake_is_named_at_once_with_source_key_and_value(write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    path = write(f"""
        [kafka]
        bootstrap_server = "x:1"
        security_protocol = "SASL_SSL"
        sasl_password = "hunter2hunter2"
        max_record_bytes = "many"
        ssl_keyfile = "{tmp_path}/nope"
        [topics]
        order_shipped = "a"
        order_cancelled = "a"
        [timng]
        x = 1
        [accounts.main]
        client_id = ""
        client_secrt = "topsecret1"
        client_secret_file = "{tmp_path}/empty"
        [accounts.two]
        client_id = "x"
        client_secret = "topsecret2"
        base_url = "https://user:topsecret3@host/x"
        [accounts.three]
        client_id = "x"
        market = "de"
        [stores.us-east]
        account = "mian"
        unknown_reason = "nope"
        paused = "perhaps"
        [stores.us-east.carriers]
        ups = "ups"
        UPS = "UPS"
        [stores.us-east.reasons]
        a = "B"
        c = 5
        [timing]
        slo_seconds = true
        call_timeout_seconds = nan
        retry_base_seconds = 0
        client_id = "q"
        [limits]
        min_tries = 2.5
        """)
    env = {
        "ORDER_SYNC_TIMING__SLO_SECOND": "3",
        "ORDER_SYNC_KAFKA_GROUP_ID": "x",
        "ORDER_SYNC_HTTP__PORT": "70000",
        "ORDER_SYNC_LOGG__LEVEL": "info",
        "ORDER_SYNC_ACCOUNTS__TWO__CHANNEL_TYPE": "",
    }
    loaded = load(path, env)
    found = mistakes(loaded)
    file = str(path)
    expected = {
        "ORDER_SYNC_TIMING__SLO_SECOND": ("timing.slo_second", None, "slo_seconds"),
        "ORDER_SYNC_KAFKA_GROUP_ID": ("kafka.group_id", None, "ORDER_SYNC_KAFKA__GROUP_ID"),
        "ORDER_SYNC_HTTP__PORT": ("http.port", '"70000"', "at most 65,535"),
        "ORDER_SYNC_LOGG__LEVEL": ("logg", None, 'did you mean "log"?'),
        "ORDER_SYNC_ACCOUNTS__TWO__CHANNEL_TYPE": ("accounts.two.channel_type", None, "empty"),
    }
    for source, (key, value, message) in expected.items():
        assert (found[key].source, found[key].value) == (source, value)
        assert message in found[key].message
    in_file = {
        "kafka.bootstrap_server": (None, 'did you mean "bootstrap_servers"?'),
        "kafka.sasl_password": (None, "ORDER_SYNC_KAFKA__SASL_PASSWORD"),
        "kafka.sasl_username": (None, "is missing"),
        "kafka.max_record_bytes": ('"many"', "whole number"),
        "kafka.ssl_keyfile": (f'"{tmp_path}/nope"', "no such file"),
        "kafka.ssl_certfile": (None, "is missing"),
        "topics.order_cancelled": ('"a"', "different names"),
        "timng": (None, 'did you mean "timing"?'),
        "accounts.main.client_id": ('""', "must not be empty"),
        "accounts.main.client_secrt": (None, 'did you mean "client_secret"?'),
        "accounts.main.client_secret_file": (f'"{tmp_path}/empty"', "is empty"),
        "accounts.two.client_secret": (None, "ORDER_SYNC_ACCOUNTS__TWO__CLIENT_SECRET"),
        "accounts.two.base_url": ('"https://***@host/x"', "user or password"),
        "accounts.three.client_secret": (None, "is missing"),
        "accounts.three.market": ('"de"', "'us'"),
        "stores.us-east.account": ('"mian"', 'did you mean "main"?'),
        "stores.us-east.unknown_reason": ('"nope"', "'refuse'"),
        "stores.us-east.paused": ('"perhaps"', "true or false"),
        "stores.us-east.carriers.ups": ('"ups"', 'did you mean "UPS"?'),
        "stores.us-east.carriers.UPS": ('"UPS"', "something else"),
        "stores.us-east.reasons.a": ('"B"', "SELLER_CANCEL_PRICING_ERROR"),
        "stores.us-east.reasons.c": ("5", "must be one of"),
        "timing.slo_seconds": ("true", "number"),
        "timing.call_timeout_seconds": ("NaN", "number"),
        "timing.retry_base_seconds": ("0", "at least 0.01"),
        "timing.client_id": (None, "[kafka]"),
        "limits.min_tries": ("2.5", "whole number"),
    }
    for key, (value, message) in in_file.items():
        assert (found[key].source, found[key].value) == (file, value), key
        assert message in found[key].message, key
    assert set(found) == set(in_file) | {key for key, _, _ in expected.values()}
    told = "\n".join(str(one) for one in found.values())
    assert "topsecret" not in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("text", "message"),
    [("[a]\nb = \n", "line 2"), ("[timing]\nslo_seconds = 1\nslo_seconds = 2\n", "line 3")],
)
def test_a_syntax_error_is_told_with_its_line_and_nothing_else(write: Write, text: str, message: str) -> None:
    path = write(text)
    (only,) = mistakes(load(path, {})).values()
    assert only.source == f"{path}:{message.removeprefix('line ')}"
    assert message in only.message


def test_a_file_that_cannot_be_read_is_the_only_mistake(tmp_path: Path) -> None:
    (only,) = mistakes(load(tmp_path / "nope.toml", {})).values()
    assert str(only) == f"{tmp_path / 'nope.toml'}: cannot be read: No such file or directory"
    (tmp_path / "latin.toml").write_bytes(b'[kafka]\ngroup_id = "\xe9"\n')
    (only,) = mistakes(load(tmp_path / "latin.toml", {})).values()
    assert "UTF-8" in only.message


def test_nothing_given_says_what_is_needed() -> None:
    found = mistakes(load(None, {}))
    assert {key: one.message for key, one in found.items()} == {
        "accounts": "at least one [accounts.<name>] section is needed",
        "stores": "at least one [stores.<name>] section is needed",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), (" \n", "is empty"), ("a\nb\n", "several lines"), ("x" * 70_000, "too large")],
)
def test_a_secret_file_holds_one_secret(write: Write, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    text = GOOD.replace('client_id = "id"', f'client_id = "id"\nclient_secret_file = "{file}"')
    (only,) = mistakes(load(write(text), {})).values()
    assert only.key == "accounts.main.client_secret_file"
    assert message in only.message
    file.write_text("good-secret\n")
    loaded = settings(load(write(text), {}))
    assert list(known_secrets(loaded)) == ["good-secret"]


def test_the_name_of_an_account_holds_no_slash(write: Write) -> None:
    """Its gate would be that of another account's endpoint group."""
    text = GOOD.replace("main", '"main/ship"', 1).replace('account = "main"', 'account = "main/ship"')
    (only,) = mistakes(load(write(text), {"ORDER_SYNC_ACCOUNTS__MAIN_SHIP__CLIENT_SECRET": "s"})).values()
    assert only.key.startswith("accounts.")
    assert "slash" in only.message


def test_a_secret_given_twice_is_a_mistake(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    text = GOOD.replace('client_id = "id"', f'client_id = "id"\nclient_secret_file = "{tmp_path}/secret"')
    (only,) = mistakes(load(write(text), SECRET)).values()
    assert only.key == "accounts.main.client_secret"
    assert only.value is None
    assert "twice" in only.message


@pytest.mark.parametrize(
    "text",
    ["accounts = 5\n", 'kafka = "x"\n', "[accounts]\nmain = 1\n", "[[stores]]\na = 1\n", "[stores.a]\ncarriers = 1\n"],
)
def test_values_of_the_wrong_shape_are_mistakes_also_under_variables(write: Write, text: str) -> None:
    env = SECRET | {"ORDER_SYNC_KAFKA__GROUP_ID": "g", "ORDER_SYNC_STORES__A__CARRIERS__X": "UPS"}
    assert not isinstance(load(write(text), env), Settings)


def test_variables_of_kubernetes_services_are_none_of_ours(write: Write) -> None:
    """A service called `order-sync` (or `order-sync-http`) makes these in every pod."""
    env = SECRET | {
        "ORDER_SYNC_SERVICE_HOST": "10.0.0.1",
        "ORDER_SYNC_PORT": "tcp://10.0.0.1:9464",
        "ORDER_SYNC_PORT_9464_TCP_PROTO": "tcp",
        "ORDER_SYNC_HTTP_PORT": "tcp://10.0.0.1:9464",
    }
    settings(load(write(GOOD), env))


def test_every_documented_variable_sets_its_key(write: Write) -> None:
    """The names in SETTINGS.md are those that are read."""
    for key, field in every_field():
        name = env_name(key).replace("<NAME>", "MAIN" if key[0] == "accounts" else "DEFAULT")
        loaded = load(write(GOOD), SECRET | {name: "\x00"})
        if isinstance(loaded, Settings):  # a plain text takes anything
            section = getattr(loaded, key[0])
            section = section["main" if key[0] == "accounts" else "default"] if len(key) == 3 else section
            value = getattr(section, key[-1])
            assert (value.get_secret_value() if isinstance(value, SecretStr) else value) == "\x00", key
        else:
            assert name in {one.source for one in loaded}, (key, [str(one) for one in loaded])
        assert field.description, f"{key} has no description"


def test_the_tree_is_shown_without_secrets_and_can_be_read_back(write: Write) -> None:
    text = GOOD + '[stores.default.carriers]\n"freight_co:ltl" = "ESTES"\n[stores."odd name"]\naccount = "main"\n'
    loaded = settings(load(write(text), SECRET))
    shown = show(loaded)
    assert "s3cr3t-value" not in shown
    assert 'client_secret = "***"' in shown
    again = settings(load(write(shown.replace('client_secret = "***"', "")), SECRET))
    assert again == loaded


def test_known_secrets_are_all_of_them(write: Write, tmp_path: Path) -> None:
    (tmp_path / "kafka").write_text("kafka-password\n")
    text = GOOD + (
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "u"\n' + f'sasl_password_file = "{tmp_path}/kafka"\n'
    )
    env = SECRET | {"ORDER_SYNC_ACCOUNTS__MAIN__CHANNEL_TYPE": "channel-1"}
    loaded = settings(load(write(text), env))
    assert sorted(known_secrets(loaded)) == ["channel-1", "kafka-password", "s3cr3t-value"]
    (tmp_path / "kafka").unlink()
    assert sorted(known_secrets(loaded)) == ["channel-1", "s3cr3t-value"]


_NAMES = st.from_regex(r"ORDER_SYNC_[A-Z_]{0,40}", fullmatch=True) | st.sampled_from(
    [env_name(key) for key, _ in every_field()] + [env_name(key).replace("<NAME>", "X") for key, _ in every_field()]
)


@given(env=st.dictionaries(_NAMES, st.text(max_size=20).filter(lambda text: "\x00" not in text), max_size=8))
def test_no_environment_makes_loading_raise(env: dict[str, str]) -> None:
    env.pop("ORDER_SYNC_CONFIG", None)
    loaded = load(None, env)
    assert isinstance(loaded, Settings | list)


def _inline(value: object) -> str:
    """As TOML writes it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    return json.dumps(value)


_JSONISH: st.SearchStrategy[object] = st.recursive(
    st.booleans() | st.integers(-5, 10**10) | st.text("ab.", max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["main", "account", "a"]), inner),
    max_leaves=5,
)


@given(tree=st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), _JSONISH))
def test_no_file_makes_loading_raise(tree: dict[str, object]) -> None:
    """Also not one that puts tables where texts belong, and the other way round."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.writelines(f"{name} = {_inline(value)}\n" for name, value in tree.items())
        file.flush()
        loaded = load(Path(file.name), {"ORDER_SYNC_ACCOUNTS__MAIN__CLIENT_SECRET": "s3cr3t-value"})
    assert isinstance(loaded, Settings | list)
    assert "s3cr3t-value" not in str(loaded)


@pytest.mark.parametrize(
    ("given", "names"),
    [("auto", None), ("main", ("main",)), (" main , two,main,", ("main", "two")), (",", ())],
)
def test_accounts_that_metrics_show_by_name(write: Write, given: str, names: tuple[str, ...] | None) -> None:
    text = GOOD + f'[accounts.two]\nclient_id = "id"\n[metrics]\naccount_names = "{given}"\n'
    loaded = load(write(text), SECRET | {"ORDER_SYNC_ACCOUNTS__TWO__CLIENT_SECRET": "s3cr3t-value"})
    assert settings(loaded).metrics.by_name == names


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("main,mian", 'there is no account "mian"; did you mean "main"?'),
        (",".join(f"a{number}" for number in range(101)), "at most 100 names"),
        ("", "must not be empty"),
    ],
)
def test_account_names_that_cannot_be_shown_are_mistakes(write: Write, given: str, words: str) -> None:
    found = mistakes(load(write(GOOD + f'[metrics]\naccount_names = "{given}"\n'), SECRET))
    assert list(found) == ["metrics.account_names"]
    assert words in found["metrics.account_names"].message
