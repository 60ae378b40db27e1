import pytest

from routing.inspection import numbers, said, scan
from routing.inspection.checksums import cn_resident_id, iban_length, luhn
from routing.inspection.collect import entities_in
from routing.policy.facts import ENTITIES
from tests.clocks import cpu_seconds


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("write to Ann.Lee+x@mail.example.co.uk.", "email", "Ann.Lee+x@mail.example.co.uk"),
        ("邮箱zhang.wei@qq.com谢谢", "email", "zhang.wei@qq.com"),
        ("call +44 7700 900123 now", "phone", "+44 7700 900123"),
        ("(905) 674-3793", "phone", "(905) 674-3793"),
        ("手机13800138000", "phone", "13800138000"),
        ("reach me on 467 3395", "phone", "467 3395"),
        ("paid with 4111 1111 1111 1111 today", "card", "4111 1111 1111 1111"),
        ("4111111111111111", "card", "4111111111111111"),
        ("GB82 WEST 1234 5698 7654 32 and more words", "iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban de89370400440532013000", "iban", "de89370400440532013000"),
        ("SSN 123-45-6789", "us_ssn", "123-45-6789"),
        ("my social security number is 123456789", "us_ssn", "123456789"),
        ("身份证11010519491231002X", "cn_resident_id", "11010519491231002X"),
        ("address 179.177.214.91 is blocked", "ip_address", "179.177.214.91"),
        ("at 6e40:4041:c617:e898:c11:40d2:c669:2eb4", "ip_address", "6e40:4041:c617:e898:c11:40d2:c669:2eb4"),
        ("MRN: 00123456", "mrn", "00123456"),
        ("Passport number is C01234567", "passport", "C01234567"),
        ("my driver's license number is F162823540116", "driver_license", "F162823540116"),
        ("My name is Jörg Müller-Lüdenscheidt", "person_name", "Jörg Müller-Lüdenscheidt"),
        ("I saw Dr. Kyle Kuefer", "person_name", "Kyle Kuefer"),
        ("我叫王小明。", "person_name", "王小明"),
    ],
)  # fmt: skip
def test_each_kind_is_found_where_it_stands(text, kind, found):
    spans = [(k, text[a:b]) for k, a, b in scan.find(text)]
    assert (kind, found.lower()) in [(k, s.lower()) for k, s in spans]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("4111 1111 1111 1112", "card"),
        ("0000000000000000", "card"),
        ("GB83 WEST 1234 5698 7654 32", "iban"),
        ("ZZ82 WEST 1234 5698 7654 32", "iban"),
        ("110105194912310021", "cn_resident_id"),
        ("on 2024-05-01 12 items", "phone"),
        ("version 1.2.3 build 20240501", "phone"),
        ("order 998877 cost 1,234.50", "phone"),
        ("300.1 309.2 1551.5 42.8", "phone"),
        ("999.1.1.1", "ip_address"),
        ("1.2.3.4.5", "ip_address"),
        ("a@b", "email"),
        ("Unlike him I'm not called", "person_name"),
        ("call me when you can", "person_name"),
        ("in the year Two, the game is Chess", "person_name"),
    ],
)
def test_what_does_not_add_up_is_left_alone(text, kind):
    assert kind not in {k for k, _, _ in scan.find(text)}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("key sk-proj-" + "aB3x" * 8, "api_key"),
        ("AKIAIOSFODNN7EXAMPLE", "api_key"),
        ("token ghp_" + "a1" * 18, "api_key"),
        ("sk_live_" + "4eC39HqLyjWDarjtT1zd", "api_key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "private_key"),
        ("postgres://app:s3cret!@db/prod", "url_password"),
        ("redis://:hunter22@cache", "url_password"),
        ("Authorization: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF123456789", "jwt"),
        ("my password is hunter2!", "password"),
        ('"aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG"', "password"),
        ("密码：abc12345", "password"),
    ],
)
def test_credentials_are_found(text, kind):
    assert kind in {k for k, _, _ in scan.find(text)}


@pytest.mark.parametrize(
    "text",
    [
        "I forgot my password, please reset it",
        "password: required",
        "the sk-learn-contrib-package is fine",
        "see https://example.com:8080/path and mail",
        "What is the key to success?",
        "the token: available on request",
    ],
)
def test_talk_about_credentials_is_no_credential(text):
    assert {k for k, _, _ in scan.find(text)} <= {"person_name"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("卡号４１１１ １１１１ １１１１ １１１１", "card"),
        ("4111–1111–1111–1111", "card"),
        ("an\u200bn@exa\u200bmple.com", "email"),
        ('{"to": "ann\\u0040example.com"}', "email"),
    ],
)
def test_a_disguise_does_not_hide_it(text, kind):
    assert kind in entities_in(text)


def test_every_kind_that_is_found_is_a_fact_that_policies_may_name():
    kinds = {kind for kind, *_ in (*numbers.KINDS, *said.LATIN, *said.CHINESE)}
    kinds |= {"private_key", "api_key", "jwt", "url_password", "password"}  # secrets
    kinds |= {"email", "iban", "health", "legal", "customer_term", "injection", "media", "uninspected"}
    assert kinds == set(ENTITIES)


def test_checksums_against_published_examples():
    assert luhn("79927398713", least=11)
    assert not luhn("79927398710", least=11)
    assert luhn("378282246310005")
    for good in ("GB29 NWBK 6016 1331 9268 19", "NO93 8601 1117 947", "FR14 2004 1010 0505 0001 3M02 606"):
        assert iban_length(good) == len(good)
    assert cn_resident_id("11010519491231002X")
    assert not cn_resident_id("110105194912310029")


@pytest.mark.parametrize(
    "unit",
    ["a", "1", "@", "a@", "a.a@", "12 ", "1-", "AA11", "GB82 AAAA ", "a://", "key = ", "eyJaaaaaaaaaa.", "-eyJ", "name is A ",
     "sk-", "\\u0040", "Aa ", "(", "1.", "+1 ", "1a", "://a:", "é", ":1"],
)  # fmt: skip
def test_time_grows_with_the_text_and_no_faster(unit):
    def seconds(size):
        text = unit * (size // len(unit))
        return cpu_seconds(lambda: entities_in(text), rounds=3)

    small, large = seconds(4_000), seconds(64_000)
    assert large < 0.5
    assert large < 16 * small * 4 + 0.02  # 16 times the text; four times that would be a sign of squares
