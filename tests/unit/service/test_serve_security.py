"""Access to the service: https by a certificate, trusted proxies, and nothing else."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from cabinet import config as configuration
from cabinet.commands.serve import check_secrets
from cabinet.config import Config
from cabinet.errors import CabinetError, ConfigErrors
from cabinet.web.server import server_config

LONG_S = 120  # only keeps a broken build from hanging


def write_config(folder: Path, service: str, public_url: str = "https://localhost") -> Path:
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    text = text.replace('public_url = "http://127.0.0.1:8080"', f'public_url = "{public_url}"')
    text += f'\n[paths]\nstate = "{folder}/state"\nrun = "{folder}/run"\n\n[service]\nport = 0\n{service}\n'
    path = folder / "cabinet.toml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, service: str, public_url: str = "https://localhost") -> Config:
    return configuration.load(write_config(folder, service, public_url))


def certify(folder: Path) -> tuple[trustme.CA, str]:
    """A certificate for localhost; the lines of the configuration that name it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    (folder / "key.pem").touch(0o600)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return authority, f'tls_certificate = "{folder}/cert.pem"\ntls_key = "{folder}/key.pem"'


def asked_by(config: Config, address: str, headers: dict[str, str]) -> tuple[str, str]:
    """Address and scheme that the application sees of a request from `address`."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask() -> None:
        loaded = server_config(app, config.service)
        loaded.load()
        transport = httpx.ASGITransport(loaded.loaded_app, client=(address, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://cabinet") as client:
            await client.get("/", headers=headers)

    asyncio.run(ask())
    return seen[0]["client"][0], seen[0]["scheme"]


FORWARDED = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}


def test_without_a_proxy_nobody_is_believed_not_even_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    config = load(tmp_path, "")
    assert asked_by(config, "127.0.0.1", FORWARDED) == ("127.0.0.1", "http")
    assert asked_by(config, "198.51.100.9", FORWARDED) == ("198.51.100.9", "http")


def test_a_proxy_of_the_configuration_is_believed_and_no_other(tmp_path: Path) -> None:
    config = load(tmp_path, 'trusted_proxies = ["10.0.0.2", "10.1.0.0/16"]')
    assert asked_by(config, "10.0.0.2", FORWARDED) == ("203.0.113.7", "https")
    assert asked_by(config, "10.1.44.3", FORWARDED) == ("203.0.113.7", "https")
    assert asked_by(config, "10.0.0.3", FORWARDED) == ("10.0.0.3", "http")


def test_what_the_asker_wrote_before_the_proxy_did_is_not_believed(tmp_path: Path) -> None:
    """A proxy adds its own asker at the end; everything before that may be made up."""
    config = load(tmp_path, 'trusted_proxies = ["10.0.0.2"]')
    made_up = {"x-forwarded-for": "127.0.0.1, 10.0.0.2, 192.0.2.1, 203.0.113.7"}
    assert asked_by(config, "10.0.0.2", made_up)[0] == "203.0.113.7"


@pytest.mark.parametrize("proxies", ['["proxy.example"]', '["10.0.0.2/99"]', '["*"]', '["10.0.0.0/255"]'])
def test_a_proxy_that_is_no_address_is_a_mistake(tmp_path: Path, proxies: str) -> None:
    with pytest.raises(ConfigErrors, match=r"service\.trusted_proxies\[1\]"):
        load(tmp_path, f"trusted_proxies = {proxies}")


@pytest.mark.parametrize("key", ["tls_key", "tls_certificate"])
def test_half_of_a_certificate_is_a_mistake(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigErrors, match=f"must be given with service.{key}"):
        load(tmp_path, f'{key} = "/somewhere.pem"')


def test_a_certificate_for_an_address_without_https_is_a_mistake(tmp_path: Path) -> None:
    _, lines = certify(tmp_path)
    with pytest.raises(ConfigErrors, match="must begin with https"):
        load(tmp_path, lines, "http://127.0.0.1:8080")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    _, lines = certify(tmp_path)
    config = load(tmp_path, lines)
    check_secrets(config)
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(CabinetError, match="holds secrets and others may read it"):
        check_secrets(config)


def test_the_key_of_the_usage_log_is_looked_at_too(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    key = tmp_path / "state" / "keys" / "usage.key"
    key.parent.mkdir(parents=True)
    key.touch(0o644)
    with pytest.raises(CabinetError, match="holds secrets"):
        check_secrets(config)


@pytest.mark.parametrize("broken", ["cert.pem", "key.pem"])
@pytest.mark.parametrize("content", [None, "nonsense", "another's"])
def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path, broken: str, content: str | None) -> None:
    _, lines = certify(tmp_path)
    config = load(tmp_path, lines)
    path = tmp_path / broken
    if content is None:
        path.unlink()
    elif content == "nonsense":
        path.write_text("nonsense")
    else:
        other = trustme.CA().issue_cert("localhost")
        (other.cert_chain_pems[0] if broken == "cert.pem" else other.private_key_pem).write_to_path(path)
    with pytest.raises(CabinetError, match=r"service\.tls_") as caught:
        check_secrets(config)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_with_a_certificate_pages_come_by_https_only(tmp_path: Path) -> None:
    authority, lines = certify(tmp_path)
    path = write_config(tmp_path, lines)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    process = subprocess.Popen(
        [sys.executable, "-m", "cabinet.main", "serve", "--config", str(path)],
        env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        assert address.startswith("https://127.0.0.1:")
        answer = httpx.get(f"{address}/s/A7K2", verify=trusting, timeout=LONG_S)
        assert answer.status_code == 200
        assert answer.headers["set-cookie"].startswith("__Host-form=")
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.HTTPError):
            httpx.get(address.replace("https:", "http:"), timeout=LONG_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 0
    finally:
        process.kill()
        process.communicate()
