"""Own sentences with places for names, towns and companies: what the name finder is fitted on beside a part of the data."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from modelhub.ml.inspect import people

LOCALES = (
    "en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pt_BR", "pl_PL", "sv_SE", "da_DK", "fi_FI", "no_NO",
    "cs_CZ", "hu_HU", "hr_HR", "sl_SI", "ro_RO", "tr_TR", "id_ID", "en_IN", "es_MX", "en_NG", "lt_LT", "et_EE",
    "is_IS", "lv_LV", "sk_SK", "pt_PT", "en_IE", "ga_IE", "az_AZ", "uz_UZ", "vi_VN", "en_KE", "en_PK", "en_TH", "fr_DZ",
    "ha_NG", "ig_NG", "yo_NG", "tw_GH", "zu_ZA",
)  # fmt: skip
OWN = 0.12  # of the names come from the lists in people.py, which Faker's lack
PERSON = (
    "My name is {p} and I need help.", "Hello, this is {p}.", "Hi {g}, thanks for your message.", "Dear {p},", "Dear {g},",
    "Dear Mr. {f}, we received your claim.", "Dear Ms {f}, please find the report below.", "Dr. {f} will see you at noon.",
    "I spoke with {p} yesterday.", "I spoke to {g} about the invoice.", "{p} signed the contract on Monday.",
    "{g} told me that the order was late.", "Please forward this to {p}.", "Ask {g} whether it is ready.",
    "The account belongs to {p}.", "The card of {p} was blocked.", "{p} has asked for a refund.",
    "{g} works in our {c} office.", "Best regards,\n{p}", "Kind regards\n{p}\n{o}", "Sincerely,\n{p}", "Thanks,\n{g}",
    "Cheers, {g}", "Name: {p}\nTown: {c}", "Customer: {p}", "Patient: {p}, seen in {c}", "Contact: {p} ({o})", "Attn: {p}",
    "{p} is our new director at {o}.", "Our colleague {p} moved from {c} to {c}.", "Send it to {p} in {c}.",
    "Did {g} call back?", "Can you book a flight for {p}?", "Book a table for {g} and {g}.", "My wife {g} lost her card.",
    "My brother {g} lives in {c}.", "my son {g} needs an account", "Transfer 100 dollars to {p}.", "Pay {p} by Friday.",
    "I would like to add {p} to my policy.", "Remove {p} from the list of users.", "The patient, {p}, complains of pain.",
    "{p} was admitted on 3 May.", "According to {f}, the part failed.", "{f} and {f} wrote the paper.",
    "{p}, {p} and {p} attended.", "Meeting with {g}, {g} and {g}.", "{g}: are you there?\n{g}: yes, I am.",
    "{g}: Good morning.", '"Where is it?" asked {g}.', "{g}'s phone number has changed.", "It is {p}'s car.",
    "The film stars {p} and {p}.", "A song by {p}.", "The novel by {p} is long.", "We met {p} at the {o} party.",
    "Is {g} still with {o}?", "Who is {p}?", "What did {g} say?", "When does {p} arrive?", "Tell {g} I said hello.",
    "From: {p}\nTo: {p}", "Written by {p}", "Reviewed by {p}, {o}", "On behalf of {p},", "Mrs {f} lives next door.",
    "Professor {f} teaches in {c}.", "Sir, I am {p}.", "I'm {g}, nice to meet you.", "I am {p} from {c}.",
    "This is {g} from {o}.", "You can reach {p} after six.", "{g} and I went to {c}.", "Yesterday {p} resigned.",
    "The winner is {p}!", "Congratulations, {g}!", "Happy birthday {g}", "Sorry {g}, not today.", "No, {g}, that is wrong.",
    "The doctor examined {g} in {c}.", "In {c}, {p} opened a shop.", "He married {g} {f} in {c}.",
    "Their daughter {g} is six.", "{p}\n12 Main Street\n{c}", "> {p} wrote:", "Employee: {p}; Department: Sales",
    "| {p} | {c} | 42 |", "Signed: {p}", "There were four: {g}, {g}, {g} and {g}.",
    "we have five: {gl}, {gl}, {gl}, {gl} and {gl}.", "{gl}, {gl} and {gl} are here", "She called her {g}",
    "the story of {gl} is not known", "It seems that {f} knew it.", "It could be that {f} came from {c}.",
    "{p}\n\nEngineer\n\nPhone", "{p}\n\nOffice clerk at {o}", "{p}\nTeacher", "Nobody knew {g} in {c}.",
    "The music of {f} was played.", "(though {f}'s book was first)", "a remark about {p} in 1980", "{f}'s idea",
    "as {f} put it", "my name is {gl} {fl}", "i am {gl} {fl}", "{gl} {fl} called", "my name is {gl}",
    "i am {gl} and i lost my card", "call {gl} please", "tell {gl} that i am late", "{gl} is my sister",
)  # fmt: skip
NOBODY = (
    "{o} opened an office in {c}.", "I work for {o}.", "The flight from {c} to {c} is late.", "How is the weather in {c}?",
    "{c} is beautiful in spring.", "The {o} report is due on Monday.", "Is {o} a good employer?", "Ship it to {c}, please.",
    "My {o} card was charged twice.", "Can I use Visa in {c}?", "We bought it from {o} in {c}.", "{o} and {o} merged.",
    "{o}'s shares fell.", "{o}: quarterly results", "Dear {o} team,", "Dear Customer,", "Dear Sir or Madam,",
    "Hello Support,", "Hi Team, the server is down.", "Thanks, The {o} Team", "Best Regards,\nCustomer Service\n{o}",
    "Subject: Invoice from {o}", "Visit {c} in July.", "What time is it in {c}?", "{c} to {c} by train",
    "The {c} office is closed on Friday.", "The {c} Times", "University of {c}", "{c} Airport", "Bank of {c}",
    "Reset Password", "Order Number", "Account Manager", "Terms of Service", "Please click Save and then Close.",
    "Open Settings and choose Privacy.", "The Effective Date of this Agreement", "English is spoken here.",
    "He speaks French and German.", "American and Chinese food", "The Italian restaurant is good.",
    "Christmas and Easter are holidays.", "I use Windows and Linux.", "Python and Java are languages.", "Google and Amazon",
    "Send the PDF to HR.", "The CEO of {o} spoke in {c}.", "Apple Pay does not work.", "Is Netflix down?",
    "Play some Jazz music.",
)  # fmt: skip


def sentences(count: int, seed: int) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """(text, spans of names) from the frames. Names come from Faker (a test requirement): `pip install faker`."""
    from faker import Faker

    draw = random.Random(seed)
    somebody, nobody = PERSON + people.PERSON, NOBODY + people.NOBODY
    makers = []
    for locale in LOCALES:
        maker = Faker(locale)
        maker.seed_instance(seed)
        makers.append(maker)
    for _ in range(count):
        maker = makers[0] if draw.random() < 0.35 else draw.choice(makers)
        frame = draw.choice(somebody if draw.random() < 0.7 else nobody)
        yield _filled(frame, maker, draw)


def renamed(text: str, spans: list[tuple[int, int]], seed: int) -> tuple[str, list[tuple[int, int]]]:
    """A sentence with its names exchanged for others, so that what is learnt of it isn't who stood in it."""
    from faker import Faker

    draw = random.Random(seed)
    maker = Faker(draw.choice(LOCALES))
    maker.seed_instance(seed)
    out, moved, at = "", [], 0
    for a, b in sorted(spans):
        parts = text[a:b].split()
        name = (
            _name(maker, "first_name")
            if len(parts) < 2
            else f"{_name(maker, 'first_name')} {_name(maker, 'last_name')}"
        )
        name = _name(maker, "last_name") if len(parts) < 2 and draw.random() < 0.4 else name
        out += text[at:a]
        moved.append((len(out), len(out) + len(name)))
        out, at = out + (name.lower() if text[a:b].islower() else name), b
    return out + text[at:], moved


_PRONOUN = re.compile(r"\b(?:[Hh]e|[Ss]he|him|his)\b(?! or\b|/)")
_SENTENCE = re.compile(r"[^.!?\n]{12,160}[.!?]?")


def spoken_of(texts: Sequence[str], count: int, seed: int) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Everyday sentences in which a pronoun has become a name: what people write around one when nobody thinks of names."""
    from faker import Faker

    draw = random.Random(seed)
    makers = [Faker(locale) for locale in LOCALES]
    for maker in makers:
        maker.seed_instance(seed)
    found = [
        (sentence.group().strip(), word.group())
        for text in texts
        for sentence in _SENTENCE.finditer(text)
        for word in list(_PRONOUN.finditer(sentence.group()))[:1]
    ]
    draw.shuffle(found)
    for sentence, word in found[:count]:
        maker = makers[0] if draw.random() < 0.35 else draw.choice(makers)
        name = _value(draw.choice("ggfp"), maker, draw)
        if draw.random() < 0.1:
            name, sentence = name.lower(), sentence.lower()
        at = re.search(rf"\b{word}\b", sentence, re.IGNORECASE)
        assert at is not None
        told = f"{name}'s" if word == "his" else name
        yield sentence[: at.start()] + told + sentence[at.end() :], [(at.start(), at.start() + len(name))]


def _filled(frame: str, maker: object, draw: random.Random) -> tuple[str, list[tuple[int, int]]]:
    text, spans = "", []
    rest = frame
    while "{" in rest:
        before, _, rest = rest.partition("{")
        kind, _, rest = rest.partition("}")
        value = _value(kind, maker, draw)
        text += before
        if kind in ("p", "g", "f", "gl", "fl"):
            spans.append((len(text), len(text) + len(value)))
        text += value
    return text + rest, spans


def _value(kind: str, maker: object, draw: random.Random) -> str:
    given, family = _name(maker, "first_name"), _name(maker, "last_name")
    if draw.random() < OWN:
        given, family = draw.choice(people.GIVEN.split()), draw.choice(people.FAMILY.split())
    if kind == "p":
        middle = (
            f" {draw.choice('ABCDEFGHJKLMNPRSTVW')}{draw.choice(['.', ''])}" if draw.random() < 0.2 else ""
        )
        return f"{given}{middle} {family}"
    if kind == "c":
        return str(draw.choice([maker.city, maker.country])()).split("\n")[0]  # type: ignore[attr-defined]
    if kind == "o":
        return str(maker.company())  # type: ignore[attr-defined]
    return {"g": given, "gl": given.lower(), "f": family, "fl": family.lower()}[kind]


def _name(maker: object, what: str) -> str:
    return str(getattr(maker, what)())


def gazetteer() -> tuple[frozenset[str], frozenset[str]]:
    """Lower-cased (given names, family names) of the locales."""
    from faker import Faker

    given, family = set(), set()
    for locale in LOCALES:
        for provider in Faker(locale).get_providers():
            for attribute in dir(provider):
                kind = (
                    given
                    if attribute.startswith("first_names")
                    else family
                    if attribute.startswith("last_names")
                    else None
                )
                if kind is not None:
                    names = getattr(provider, attribute)
                    kind.update(str(name).lower() for name in (names or ()))
    given.update(people.GIVEN.lower().split())
    family.update(people.FAMILY.lower().split())
    fine = {name for name in given | family if len(name) > 1 and "\n" not in name}
    return frozenset(given & fine), frozenset(family & fine)
