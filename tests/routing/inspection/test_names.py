"""Where the learned finder sees names: neighbours together, possessives without their ending, whoever's name it is."""

from pathlib import Path

import pytest

from modelhub.ml.inspect import frames, people, splits
from modelhub.ml.inspect.look import Look
from modelhub.ml.inspect.model import InspectionModel, Loudness, Threshold
from modelhub.ml.inspect.reading import Lists, candidates
from routing.inspection.learned import classifier

SILENT = Loudness({}, {}, 0.0)


def model(**weights: float) -> InspectionModel:
    """One weight a word, found from 1 on; neighbours may lack two."""
    lists = Lists.of((), (), ("the", "met", "and"))
    return InspectionModel(
        {f"w{k}": v for k, v in weights.items()}, 0.0, lists, SILENT, SILENT, Threshold(1.0, 9.0, 9.0)
    )


def found(weights: dict[str, float], text: str) -> list[str]:
    return [text[a:b] for a, b in model(**weights).names_in(text)]


def test_an_unsure_neighbour_of_a_sure_name_belongs_to_it_before_and_behind():
    assert found({"irenke": 3.0, "soros": -0.5}, "Met Irenke Soros") == ["Irenke Soros"]
    assert found({"irenke": -0.5, "soros": 3.0}, "Met Irenke Soros") == ["Irenke Soros"]


def test_a_neighbour_that_surely_is_no_name_ends_one():
    assert found({"irenke": 3.0, "street": -1.5}, "Met Irenke Street") == ["Irenke"]
    assert found({"irenke": 3.0, "bank": -1.5}, "Met Bank Irenke") == ["Irenke"]


def test_unsure_words_alone_are_no_name_however_many():
    assert found({"one": 0.5, "two": 0.9}, "Met One Two") == []


def test_an_initial_joins_and_is_none_alone():
    assert found({"ravil": 3.0, "yefimov": 0.0}, "Met Ravil G Yefimov") == ["Ravil G Yefimov"]
    assert found({"w": 9.0}, "Plan W. met") == []


def test_two_names_with_a_word_between_stay_two():
    assert found({"ann": 3.0, "bob": 3.0}, "Met Ann and Bob") == ["Ann", "Bob"]


@pytest.mark.parametrize(
    "text", ["Amanda's daughter", "Amanda’s daughter", "O'Brien's car", "Jean-Paul's car"]
)
def test_a_possessive_is_read_without_its_ending(text):
    (first, *_) = candidates(Look(text), Lists.of((), (), ("daughter", "car")))
    assert text[first.start : first.end] == text.partition(" ")[0][:-2]


def test_a_pronoun_becomes_a_name_where_it_stood():
    texts = [
        "I think she told me that it was late.",
        "It was his car that I saw there.",
        "Nobody was there that day.",
    ]
    made = list(frames.spoken_of(texts, 9, seed=3))
    assert len(made) == 2
    for text, [(start, end)] in made:
        assert text[start:end] and "she" not in text.split() and "his" not in text.split()
    possessive = next(text for text, _ in made if "car" in text.lower())
    assert "'s car" in possessive.lower()


def test_lists_know_names_that_fakers_lack():
    given, family = frames.gazetteer()
    assert set(people.GIVEN.lower().split()) <= given and set(people.FAMILY.lower().split()) <= family


def test_programs_to_fit_and_to_choose_by_are_not_the_same():
    fitted, chosen = splits.library_code("fit"), splits.library_code("choose")
    assert len(fitted) > 5 * len(chosen) > 500
    assert not set(fitted) & set(chosen)


@pytest.mark.parametrize(
    "name",
    [
        "Emily Walker",
        "Keisha Washington",
        "Priya Sharma",
        "Chidi Okonkwo",
        "Mohammed Khan",
        "Mei Chen",
        "Guðrún Jónsdóttir",
    ],
)
def test_the_shipped_finder_sees_names_of_many_origins(name):
    for text in (
        f"I spoke with {name} about it.",
        f"{name} will call you back.",
        f"This is {name}'s invoice.",
    ):
        assert any(text[a:b] == name for a, b in classifier().names_in(text)), text


def test_the_reported_part_is_read_by_no_one_who_fits():
    sources = [Path(module.__file__ or "").read_text("utf-8") for module in (frames, people)]
    sources.append((Path(frames.__file__ or "").parent / "train.py").read_text("utf-8"))
    assert not any('"report"' in source for source in sources)
