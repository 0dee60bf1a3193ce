"""Signing rules of both platforms against vectors that openssl makes on the command line, in both directions."""

import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from cabinet_testing.openssl import OpensslKey, openssl, sealed
from fleet.money.payments import alipay_signing, rsa_signing, wechat_signing

BODY = '{"id":"EV-1","summary":"支付成功"}'.encode()


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return OpensslKey(tmp_path_factory.mktemp("keys"), "merchant")


@pytest.fixture(scope="module")
def private(key):
    return load_pem_private_key(key.private.read_bytes(), None)


@pytest.fixture(scope="module")
def public(key):
    return load_pem_public_key(key.public.read_bytes())


def flips(text: bytes):
    """Yield the text with one bit of each byte changed, one after the other."""
    for place in range(len(text)):
        yield text[:place] + bytes([text[place] ^ (1 << place % 8)]) + text[place + 1 :]


# --- both platforms: RSA with SHA-256 --------------------------------------------------------------------------------


def test_openssl_accepts_our_signature_and_we_accept_its(key, private, public):
    assert key.verify(BODY, rsa_signing.sign(private, BODY))
    assert not key.verify(BODY + b" ", rsa_signing.sign(private, BODY))
    rsa_signing.verify(public, BODY, key.sign(BODY))


def test_one_flipped_byte_of_the_text_or_of_the_signature_is_refused(key, public):
    signature = key.sign(BODY)
    for changed in flips(BODY):
        with pytest.raises(rsa_signing.BadSignature):
            rsa_signing.verify(public, changed, signature)
    for changed in flips(base64.b64decode(signature)):
        with pytest.raises(rsa_signing.BadSignature):
            rsa_signing.verify(public, BODY, base64.b64encode(changed).decode())
    for bad in ("", "no base64 ü", signature[:-4], signature + signature, wechat_signing.PROBE + signature):
        with pytest.raises(rsa_signing.BadSignature):
            rsa_signing.verify(public, BODY, bad)


# --- WeChat Pay ------------------------------------------------------------------------------------------------------


def test_wechat_request_is_signed_line_by_line_with_path_and_query(key, private):
    target = "/v3/pay/transactions/out-trade-no/P1?mchid=1900000109"
    header = wechat_signing.authorization(private, "1900000109", "5F1A", "GET", target, 1764550000, "n0nce", b"")
    scheme, _, rest = header.partition(" ")
    fields = {name: value.strip('"') for name, _, value in (part.partition("=") for part in rest.split(","))}
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    signature = fields.pop("signature")
    assert fields == {
        "mchid": "1900000109", "nonce_str": "n0nce", "timestamp": "1764550000", "serial_no": "5F1A",
    }  # fmt: skip
    assert key.verify(b"GET\n" + target.encode() + b"\n1764550000\nn0nce\n\n", signature)


def test_wechat_answer_is_verified_over_the_bytes_as_received(key, public):
    text = b"1764550000\nn0nce\n" + BODY + b"\n"
    rsa_signing.verify(public, wechat_signing.answer_text("1764550000", "n0nce", BODY), key.sign(text))
    loosened = json.dumps(json.loads(BODY)).encode()
    with pytest.raises(rsa_signing.BadSignature):
        rsa_signing.verify(public, wechat_signing.answer_text("1764550000", "n0nce", loosened), key.sign(text))


def test_wechat_pay_sheet_is_signed_over_four_lines(key, private):
    text = wechat_signing.bridge_text("wx1", "1764550000", "n0nce", "prepay_id=wx9")
    assert key.verify(b"wx1\n1764550000\nn0nce\nprepay_id=wx9\n", rsa_signing.sign(private, text))


SEAL = (b"0123456789abcdef0123456789ABCDEF", b"fdasflkja484", b"transaction")


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 500])
def test_wechat_contents_sealed_by_openssl_are_read(length):
    text = (BODY * 20)[:length]
    sent = base64.b64encode(sealed(*SEAL, text)).decode()
    assert wechat_signing.unseal(SEAL[0], SEAL[1].decode(), SEAL[2].decode(), sent) == text


def test_sealing_agrees_with_the_published_test_case_16_of_gcm():
    """McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B: AES-256 with associated data."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    associated = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    assert sealed(key, bytes.fromhex("cafebabefacedbaddecaf888"), associated, text)[-16:] == bytes.fromhex(
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )


def test_wechat_contents_with_one_flipped_byte_are_refused():
    key, nonce, associated = SEAL
    sent = sealed(*SEAL, BODY)
    assert wechat_signing.unseal(key, nonce.decode(), associated.decode(), base64.b64encode(sent).decode()) == BODY
    for changed in flips(sent):
        with pytest.raises(rsa_signing.BadSignature):
            wechat_signing.unseal(key, nonce.decode(), associated.decode(), base64.b64encode(changed).decode())
    for wrong in [
        (bytes(32), nonce.decode(), associated.decode()),
        (key, "fdasflkja485", associated.decode()),
        (key, nonce.decode(), "certificate"),
        (key, "", associated.decode()),
    ]:
        with pytest.raises(rsa_signing.BadSignature):
            wechat_signing.unseal(*wrong, base64.b64encode(sent).decode())


# --- Alipay ----------------------------------------------------------------------------------------------------------


def test_alipay_request_is_signed_sorted_without_empty_values_and_with_its_sign_type(key, private):
    parameters = {
        "method": "alipay.trade.query",
        "app_id": "2021",
        "sign_type": "RSA2",
        "notify_url": "",
        "biz": "支付",
    }
    expected = "app_id=2021&biz=支付&method=alipay.trade.query&sign_type=RSA2".encode()
    assert key.verify(expected, rsa_signing.sign(private, alipay_signing.signed_text(parameters)))


def test_alipay_notification_is_verified_sorted_with_empty_values_and_without_its_sign_type(key, public):
    fields = {"trade_no": "9", "sign_type": "RSA2", "body": "", "app_id": "2021", "subject": "充电"}
    signature = key.sign("app_id=2021&body=&subject=充电&trade_no=9".encode())
    text = alipay_signing.signed_text({**fields, "sign": signature}, notification=True)
    rsa_signing.verify(public, text, signature)
    for name in ("trade_no", "app_id", "subject", "body"):
        changed = alipay_signing.signed_text({**fields, name: fields[name] + "1"}, notification=True)
        with pytest.raises(rsa_signing.BadSignature):
            rsa_signing.verify(public, changed, signature)


@pytest.mark.parametrize("inner", ['{"code":"10000"}', '{ "code":"10000","a":{"b":"}\\"{"} }', '{"msg":"\\u6210"}'])
def test_alipay_answer_is_verified_over_the_characters_of_its_inner_object(key, public, inner):
    answer = f'{{"alipay_trade_query_response":{inner},"alipay_cert_sn":"ab","sign":"x"}}'
    found = alipay_signing.inner_object(answer, "alipay_trade_query_response")
    assert found == inner
    rsa_signing.verify(public, found.encode(), key.sign(inner.encode()))


@pytest.mark.parametrize("answer", ["", "{}", '{"alipay_trade_query_response":', '{"alipay_trade_query_response":{"a'])
def test_alipay_answer_without_its_inner_object_is_refused(answer):
    with pytest.raises(rsa_signing.BadSignature):
        alipay_signing.inner_object(answer, "alipay_trade_query_response")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A root, an authority and a certificate of the gateway, and a stranger that has all their names."""
    folder = tmp_path_factory.mktemp("chain")

    def certificate(name, subject, by=None, serial="20"):
        issuer = () if by is None else ("-CA", f"{folder}/{by}.pem", "-CAkey", f"{folder}/{by}.key")
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "30", "-set_serial", serial,
            "-subj", subject, "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem", *issuer,
        )  # fmt: skip

    certificate("root", "/C=CN/O=Ant/OU=Certification Authority/CN=Ant Root", serial="10")
    certificate("authority", "/C=CN/O=Ant/OU=Certification Authority/CN=Ant Class 1", "root", "11")
    certificate("gateway", "/C=CN/O=Ant/OU=Alipay/CN=Gateway", "authority", "123456789012345678901234567890")
    certificate("false-authority", "/C=CN/O=Ant/OU=Certification Authority/CN=Ant Class 1", serial="11")
    certificate("false", "/C=CN/O=Ant/OU=Alipay/CN=Gateway", "false-authority", "123456789012345678901234567890")
    return folder


def test_alipay_certificate_is_named_by_md5_over_issuer_and_serial_number(chain):
    gateway = x509.load_pem_x509_certificate((chain / "gateway.pem").read_bytes())
    named = b"CN=Ant Class 1,OU=Certification Authority,O=Ant,C=CN123456789012345678901234567890"
    assert alipay_signing.certificate_number(gateway) == openssl("dgst", "-md5", "-r", given=named).decode()[:32]


def test_alipay_root_number_joins_those_signed_with_rsa(chain, tmp_path):
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other",
        "-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "ec.pem"),
    )  # fmt: skip
    pems = [chain / "root.pem", tmp_path / "ec.pem", chain / "authority.pem"]
    roots = [x509.load_pem_x509_certificate(pem.read_bytes()) for pem in pems]
    first, second = (alipay_signing.certificate_number(roots[place]) for place in (0, 2))
    assert alipay_signing.root_number(roots) == f"{first}_{second}"


def test_alipay_key_is_taken_from_a_certificate_that_leads_to_the_root_only(chain):
    roots = [x509.load_pem_x509_certificate((chain / "root.pem").read_bytes())]
    pem = {name: (chain / f"{name}.pem").read_bytes() for name in ("gateway", "authority", "false", "false-authority")}
    number, key = alipay_signing.trusted_key(pem["gateway"] + pem["authority"], roots)
    assert number == alipay_signing.certificate_number(x509.load_pem_x509_certificate(pem["gateway"]))
    assert key.key_size == 2048
    for bad in (pem["gateway"], pem["false"] + pem["false-authority"], pem["false"] + pem["authority"], b"none"):
        with pytest.raises(rsa_signing.BadSignature):
            alipay_signing.trusted_key(bad, roots)
