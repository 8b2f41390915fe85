from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.granite.vocabulary import MOST_TERMS, terms_of

PROMPTS = [
    ("ZyntriQix, Digique Plus, CynapseFive", ("ZyntriQix", "Digique Plus", "CynapseFive")),
    ("granite; gneiss\nbasalt", ("granite", "gneiss", "basalt")),
    ("The talk is about granite and how it forms.", ()),
    (
        "Yesterday Ada Lovelace met Charles Babbage. They spoke of AWS, and I agreed.",
        ("Ada Lovelace", "Charles Babbage", "AWS"),
    ),
    ("Runs on a gfx1151 with an iPhone nearby", ("gfx1151", "iPhone")),
    ("In Paris, Berlin said little, as far as anybody who was there could later tell.", ("Paris", "Berlin")),
    ("C++, C#, R&D", ("C++", "C#", "R&D")),
    ("\u6771\u4eac\uff0c\u5927\u962a", ("\u6771\u4eac", "\u5927\u962a")),
    ("", ()),
]


@pytest.mark.parametrize(("prompt", "terms"), PROMPTS, ids=[prompt[:12] for prompt, _ in PROMPTS])
def test_names_and_lists_are_terms_and_ordinary_words_are_not(prompt: str, terms: tuple[str, ...]) -> None:
    assert terms_of(prompt) == terms


@given(st.text())
def test_any_text_gives_a_bounded_number_of_terms_each_once(prompt: str) -> None:
    terms = terms_of(prompt)
    assert len(terms) == len(set(terms)) <= MOST_TERMS
    assert all(term.strip() == term and term for term in terms)
