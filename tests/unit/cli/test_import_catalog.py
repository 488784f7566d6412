"""Catalogues out of sales files and out of plain lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everopen.base.errors import InputError
from everopen.cli import catalogue_file
from everopen.cli.import_catalog import (
    Catalogue,
    catalogue_from,
    product,
    read_catalogue,
    shipped_file,
)

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n"


def read(folder: Path, text: str) -> Catalogue:
    path = folder / "catalogue.csv"
    path.write_text(text, encoding="utf-8")
    return read_catalogue(path)


def sold(code: str, title: str, quantity: int, price: str, invoice: str = "1") -> str:
    return f"{invoice},{code},{title},{quantity},2010-12-01 08:26:00,{price},1\n"


def test_the_most_frequent_title_and_price_win_and_the_first_of_equals(tmp_path: Path) -> None:
    lines = (
        sold("A1", "LAMP", 1, "2.00")
        + sold("a1", "LAMP RED", 1, "3.00", "2")
        + sold("A1", "LAMP RED", 9, "2.5", "3")
    )
    found = read(
        tmp_path, HEADER + lines + sold("A1", "", 1, "2.5", "4") + sold("A1", "LAMP", 1, "2.00", "5")
    )
    assert found.products == [product("A1", "LAMP", 200, "GBP")]
    assert {finding.kind for finding in found.findings} >= {
        "several_titles",
        "several_prices",
        "code_spelling",
    }


def test_a_note_on_a_correction_is_no_title_and_no_price_is_no_price(tmp_path: Path) -> None:
    found = read(
        tmp_path, HEADER + "1,B2,damages,-5,2010-12-01 08:26:00,0,\n" + sold("D3", "FREE LAMP", 1, "0", "2")
    )
    assert found.products == [
        product("B2", "Article B2", None, "GBP"),
        product("D3", "FREE LAMP", None, "GBP"),
    ]
    assert [(f.line, f.kind) for f in found.findings if f.kind.startswith("no_")] == [
        (2, "no_title_at_all"),
        (2, "no_price"),
        (3, "no_price"),
    ]


def test_what_is_no_article_has_neither_stock_nor_a_price_for_the_public(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER + sold("POST", "POSTAGE", 1, "18")).products == [
        product("POST", "POSTAGE", None, "GBP", tracks_stock=False)
    ]


def test_the_shipped_month_becomes_a_catalogue() -> None:
    products = catalogue_from(shipped_file())
    by_sku = {entry["sku"]: entry for entry in products}
    assert len(products) == len(by_sku) == 2762
    assert by_sku["85123A"] == product("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 295, "GBP")
    assert sum(entry["price"] is None for entry in products) == 40
    assert sum(not entry["tracks_stock"] for entry in products) == 10
    assert all(entry["title"].strip() for entry in products)


def test_a_plain_list_is_known_by_its_header(tmp_path: Path) -> None:
    found = read(tmp_path, "sku,title,price,currency,stock\nA,Tea ☕,2.5,EUR,7\nB,Coffee,,EUR,\n")
    assert found.products == [product("A", "Tea ☕", 250, "EUR"), product("B", "Coffee", None, "EUR")]
    assert found.stock == {"A": 7}
    assert [(finding.line, finding.kind) for finding in found.findings] == [(3, "no_price")]


def test_currencies_have_their_own_digits(tmp_path: Path) -> None:
    assert read(tmp_path, "sku,title,price,currency\nA,Tea,250,JPY\n").products[0]["price"]["amount"] == 250
    assert read(tmp_path, "sku,title,price,currency\nA,Tea,2.5,KWD\n").products[0]["price"]["amount"] == 2500


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("A,Tea,2.555\n", "line 2: the price '2.555' is no amount in GBP"),
        ("A,Tea,-1\n", "line 2: the price '-1' is no amount"),
        ("A,Tea,1e3\n", "is no amount"),
        (",Tea,1\n", "line 2: '' is no SKU"),
        ("A,,1\n", "line 2: the title is empty"),
        ("A,Tea,1\nA,Tea,1\n", "line 3: SKU 'A' is also on line 2"),
        ("A,Tea\n", "line 2: 2 fields where the header has 3"),
        ("", "has a header and no products"),
    ],
)
def test_a_wrong_plain_list_is_refused_with_its_line(tmp_path: Path, rows: str, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, "sku,title,price\n" + rows)
    assert sentence in refused.value.cause


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sku,title,price,currency\nA,Tea,1,ZZZ\n", "line 2: 'ZZZ' is no currency known here"),
        ("sku,title,price,currency\nA,Tea,1,EUR\nB,Tea,1,GBP\n", "line 3: GBP and EUR in one file"),
        ("sku,title,price,stock\nA,Tea,1,-3\n", "line 2: the stock '-3' is no whole number"),
        ("sku;title;price\nA;Tea;1\n", "line 1: the columns are divided by semicolons"),
        ("sku,name,price\nA,Tea,1\n", "line 1: the header is 'sku,name,price'"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert sentence in refused.value.cause


def test_every_wrong_line_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(
            tmp_path,
            "sku,title,price,published,category,weight_g\n"
            "A,Tea,1,perhaps,,\nB,Tea,1,true,Not A Slug,\nC,Tea,1,true,tea,\nD,Tea,1,true,tea,heavy\nE,Tea,99999999999,true,,\n",
        )
    wrong = refused.value.cause.splitlines()
    assert [line.partition(": ")[0].rpartition(" ")[2] for line in wrong] == ["2", "3", "5", "6"]
    assert "neither true nor false" in wrong[0]
    assert "`category` must be made of lower-case letters" in wrong[1]


def test_a_column_that_is_missing_is_left_alone_and_an_empty_cell_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "sku,title\nA,Tea\n").products == [
        {"sku": "A", "title": "Tea", "tracks_stock": True}
    ]
    found = read(tmp_path, "sku,title,category,attribute:colour,images\nA,Tea,,,\n").products
    assert found == [
        {"sku": "A", "title": "Tea", "tracks_stock": True, "category": None, "images": [], "attributes": {}}
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
WORDS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True)
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=":\u2028\u2029"),
    min_size=1,
    max_size=10,
)
VALUES = st.lists(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"),
        min_size=1,
        max_size=10,
    ),
    min_size=1,
    max_size=3,
    unique=True,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "sku": NAMES,
                "title": TEXTS,
                "price": st.none()
                | st.builds(lambda n: {"amount": n, "currency": "GBP"}, st.integers(0, 10**10)),
                "description": st.just("") | TEXTS,
                "published": st.booleans(),
                "category": st.none() | WORDS,
                "group": st.none() | WORDS,
                "tax_category": st.none() | WORDS,
                "weight_g": st.none() | st.integers(0, 10**9),
                "buyer_limit": st.none() | st.integers(1, 10**6),
                "tracks_stock": st.booleans(),
                "images": st.lists(
                    st.from_regex(r"https://i\.example/[a-z|\\?=,é]{1,10}", fullmatch=True).filter(
                        lambda text: "\\" not in text
                    ),
                    max_size=2,
                ),
                "attributes": st.dictionaries(NAMES, VALUES, max_size=3),
            }
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda entry: entry["sku"],
    )
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_written_catalogue_reads_back_as_it_was(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    found = read(tmp_path, catalogue_file.write(entries, "GBP"))
    if not any(entry["attributes"] for entry in entries):
        entries = [
            {name: value for name, value in entry.items() if name != "attributes"} for entry in entries
        ]
    assert found.products == entries
