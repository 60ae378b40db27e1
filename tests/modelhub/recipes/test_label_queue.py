"""From texts to a data set: chosen by the live models, labelled by two, settled by a third, each label a ledger line once."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from costs.models import Budget, LedgerEntry
from modelhub.ml import datasets as shipped
from modelhub.models import LabelBatch, LabelItem
from modelhub.services import labelling
from modelhub.tasks import run_job
from switchyard.core.errors import BudgetExhausted, Conflict, InvalidRequest, ValidationFailed
from switchyard.core.money import usd_to_nusd
from switchyard.jobs.models import Job
from tests.factories import make_lob, make_user

PRICE = 2_000_000_000


@pytest.fixture
def desk(company: SimpleNamespace) -> SimpleNamespace:
    """Forty real reviews, of which ten are to be labelled by two people at $2."""
    company.lob.label_price_nusd = PRICE
    company.lob.save()
    people = [make_user(name, company.organisation, "model_engineer") for name in ("ann", "ben", "cleo")]
    texts = shipped.load("support-sentiment", "train").texts[:40]
    content = "\n".join(texts).encode()
    batch = labelling.start_batch(
        workload=company.sentiment, user=people[0], name="reviews.txt", content=content, count=10, labellers=2
    )
    run_job(batch.job_id)
    job = Job.objects.get(pk=batch.job_id)
    assert job.state == "succeeded", job.error
    batch.refresh_from_db()
    return SimpleNamespace(company=company, batch=batch, people=people, job=job)


def spent() -> int:
    return sum(LedgerEntry.objects.filter(credit="payable:labels").values_list("amount_nusd", flat=True))


def test_the_unsure_are_chosen_and_the_other_texts_are_not_kept(desk: SimpleNamespace):
    items = list(LabelItem.objects.all())
    assert desk.batch.state == "open" and len(items) == 10
    assert {"uncertainty", "disagreement"} <= set(items[0].why)
    assert "text" not in items[0].sealed_text and labelling.text_of(items[0])
    first = labelling.next_item(desk.batch, "ann")
    assert first.score == max(item.score for item in items)
    assert desk.job.cost_nusd > 0


def test_two_agree_or_a_third_settles_and_every_word_is_paid_once(desk: SimpleNamespace):
    ann, ben, cleo = desk.people
    good, bad = desk.batch.labels[:2]
    items = list(desk.batch.items.order_by("place"))
    for item in items:
        labelling.vote(item=item, user=ann, label=good)
    assert spent() == 10 * PRICE
    with pytest.raises(Conflict):
        labelling.vote(item=items[0], user=ann, label=bad)
    for place, item in enumerate(items):
        labelling.vote(item=item, user=ben, label=bad if place < 2 else good)
    assert spent() == 20 * PRICE
    assert sorted(desk.batch.items.values_list("state", flat=True)) == ["agreed"] * 8 + ["disputed"] * 2
    told = labelling.agreement(desk.batch)
    assert (told["rows"], told["same"]) == (10, 8) and told["kappa"] == {"ann / ben": 0.0}
    disputed = desk.batch.items.filter(state="disputed").first()
    with pytest.raises(Conflict, match="can't settle"):
        labelling.settle(item=disputed, user=ben, label=bad)
    labelling.settle(item=disputed, user=cleo, label=good)
    assert desk.batch.items.get(pk=disputed.pk).label == good
    before = spent()
    for item in desk.batch.items.filter(state="disputed"):
        labelling.settle(item=item, user=cleo, label=good)
    with pytest.raises(ValidationFailed):  # one label alone teaches nothing
        labelling.to_dataset(batch=desk.batch, user=ann)
    assert spent() == before + PRICE


def test_the_csv_goes_out_and_comes_back(desk: SimpleNamespace):
    ann, ben, _cleo = desk.people
    rows = list(csv.DictReader(io.StringIO(labelling.as_csv(desk.batch))))
    assert len(rows) == 10 and all(row["guess"] in desk.batch.labels for row in rows)
    labels = desk.batch.labels

    def filled(values: list[str]) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["row", "text", "guess", "label"])
        writer.writerows(
            [row["row"], row["text"], row["guess"], value] for row, value in zip(rows, values, strict=True)
        )
        return out.getvalue().encode()

    mixed = [labels[n % 2] for n in range(10)]
    with pytest.raises(ValidationFailed) as refused:
        labelling.from_csv(batch=desk.batch, user=ann, content=filled([*mixed[:9], "nonsense"]))
    assert refused.value.errors[0]["line"] == 11 and spent() == 0
    assert labelling.from_csv(batch=desk.batch, user=ann, content=filled(mixed)) == 10
    assert labelling.from_csv(batch=desk.batch, user=ann, content=filled(mixed)) == 0  # sent twice
    assert labelling.from_csv(batch=desk.batch, user=ben, content=filled([*mixed[:8], "", ""])) == 8
    before = spent()
    dataset = labelling.to_dataset(batch=desk.batch, user=ann)
    assert dataset.rows == 8 and spent() == before  # its labels were paid for in the queue
    with pytest.raises(ValidationFailed):
        labelling.from_csv(batch=desk.batch, user=ann, content=b"a,b\n1,2\n")


def test_a_labelling_budget_refuses_and_nothing_is_kept(desk: SimpleNamespace):
    Budget.objects.create(
        organisation=desk.company.organisation, scope="lob:customer-service", lob=desk.company.lob, covers="labels",
        limit_nusd=usd_to_nusd("3"), action="stop",
    )  # fmt: skip
    ann = desk.people[0]
    items = list(desk.batch.items.order_by("place"))
    labelling.vote(item=items[0], user=ann, label=desk.batch.labels[0])
    with pytest.raises(BudgetExhausted):
        labelling.vote(item=items[1], user=ann, label=desk.batch.labels[0])
    assert not items[1].votes.exists() and spent() == PRICE


@pytest.mark.parametrize(
    ("content", "count", "name"),
    [
        (b"", 1, "a.txt"),
        (b"\xff\xfe", 1, "a.txt"),
        (b"one\ntwo", 3, "a.txt"),
        (b"a,b\n1,2\n", 1, "a.csv"),
        (b"{}\n", 1, "a.jsonl"),
        (b'{"text": 1}\n', 1, "a.jsonl"),
        (b"PK\x03\x04" + bytes(99), 1, "a.xlsx"),
    ],
)
def test_texts_that_are_wrong_are_refused(company: SimpleNamespace, content: bytes, count: int, name: str):
    with pytest.raises((ValidationFailed, InvalidRequest)):
        labelling.start_batch(workload=company.sentiment, user=None, name=name, content=content, count=count)
    assert not LabelBatch.objects.exists()


def test_how_many_can_be_chosen_is_told_by_how_many_there_are(company: SimpleNamespace):
    with pytest.raises(InvalidRequest, match="From 1 to 2 rows can be chosen of these 2"):
        labelling.start_batch(
            workload=company.sentiment, user=None, name="a.txt", content=b"one\ntwo", count=3
        )


def test_the_page_is_for_those_who_label_there(desk: SimpleNamespace):
    def client(user: Any) -> Client:
        one = Client()
        one.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return one

    ann = client(desk.people[0])
    path = f"/labelling/{desk.batch.pk}/"
    shown = ann.get(path).content.decode()
    assert 'data-key="1"' in shown and desk.batch.name in ann.get("/labelling/").content.decode()
    item = labelling.next_item(desk.batch, "ann")
    ann.post(f"{path}vote/", {"item": item.pk, "label": desk.batch.labels[0]})
    assert item.votes.get().username == "ann"
    assert "row,text,guess,label" in ann.get(f"{path}?csv=1").content.decode()
    organisation = desk.company.organisation
    bob = client(make_user("bob", organisation, "model_engineer", (make_lob(organisation, "legal"),)))
    vera = client(make_user("vera", organisation, "viewer"))
    for stranger in (bob, vera):
        assert stranger.get(path).status_code == 404  # a text is for those who label it
    assert bob.post(f"{path}vote/", {"item": item.pk, "label": "x"}).status_code == 404
    assert vera.post(f"{path}vote/", {"item": item.pk, "label": "x"}).status_code == 403
