"""The strict reader of sales files, and what it writes down about an untidy one."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from everopen.base.errors import InputError
from everopen.cli.import_catalog import shipped_file
from everopen.cli.online_retail import (
    KINDS,
    SalesFile,
    invoices_of,
    is_stock_correction,
    read_sales,
    summary_of,
    track_stock,
)

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n"
GOOD = "536365,85123A,HEART HOLDER,6,2010-12-01 08:26:00,2.55,17850\n"


NOT_ON_A_SHELF = ("POST", "DOT", "M", "D", "C2", "S", "AMAZONFEE", "BANK CHARGES", "GIFT_0001_40")


def read(folder: Path, text: str | bytes, name: str = "sales.csv") -> SalesFile:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_sales(path)


def kinds(sales: SalesFile) -> list[tuple[int, str]]:
    return [(finding.line, finding.kind) for finding in sales.findings]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "is empty"),
        (b"  \n\n", "is empty"),
        (HEADER.encode(), "has a header and no lines"),
        (b"Invoice,StockCode\n1,2\n", "line 1: the header is 'Invoice,StockCode'"),
        (GOOD.encode(), "line 1: there is no header"),
        (HEADER.replace(",", ";").encode(), "line 1: the columns are divided by semicolons"),
        (HEADER.replace(",", "\t").encode(), "line 1: the columns are divided by tabs"),
        (HEADER.encode("utf-16"), "line 1: the file is UTF-16"),
        (
            (HEADER + GOOD).encode() + b"1,2,caf\xe9,1,2010-12-01 08:26:00,1,1\n",
            "line 3: byte 0xe9 is not UTF-8",
        ),
        (b"PK\x03\x04 whatever", "is a spreadsheet or zip file"),
        (b"\x1f\x8b not gzip at all", "is a damaged gzip file"),
        (HEADER + GOOD + "536365,85123A\n", "line 3: 2 fields where the header has 7"),
        (HEADER + GOOD + GOOD.strip() + ",UK\n", "line 3: 8 fields where the header has 7"),
        (
            HEADER + GOOD + '1,2,"open,1,2010-12-01 08:26:00,1,1\n' + GOOD,
            "line 3: a quoted text doesn't end on its line",
        ),
        (
            HEADER + GOOD + '1,2,"open,1,2010-12-01 08:26:00,1,1\n1,2,"x",1,2010-12-01 08:26:00,1,1\n',
            "line 3:",
        ),
        (HEADER + '1,2,"a"b,1,2010-12-01 08:26:00,1,1\n', "line 2: the line is broken"),
        (HEADER + '1,2,"open,1,2010-12-01 08:26:00,1,1', "line 2:"),
        (HEADER + GOOD.replace("536365", "X-1"), "line 2: 'X-1' is no invoice number"),
        (HEADER + GOOD.replace("85123A", " "), "line 2: ' ' is no stock code"),
        (HEADER + GOOD.replace("85123A", "8" * 65), "is no stock code"),
        (HEADER + GOOD.replace(",6,", ",6.5,"), "line 2: the quantity '6.5' is no whole number"),
        (HEADER + GOOD.replace(",6,", ",,"), "line 2: the quantity '' is no whole number"),
        (HEADER + GOOD.replace(",6,", ",٣,"), "is no whole number"),
        (HEADER + GOOD.replace(",6,", ",1000001,"), "is beyond 1,000,000"),
        (HEADER + GOOD.replace("2010-12-01", "01/12/2010"), "is no date and time"),
        (HEADER + GOOD.replace("2010-12-01", "2010-02-30"), "is no date and time"),
        (HEADER + GOOD.replace("2.55", "£2.55"), "line 2: the price '£2.55' is no amount"),
        (HEADER + GOOD.replace("2.55", '"2,55"'), "line 2: the price '2,55' is no amount"),
        (HEADER + GOOD.replace("2.55", "nan"), "is no amount"),
        (HEADER + GOOD.replace("17850", "a@b"), "is no customer number"),
        (HEADER + GOOD.replace("HEART", "HE\x00ART"), "line 2: there is a zero byte"),
        (
            HEADER + GOOD.replace("HEART", "HE\x07ART"),
            "line 2: the description is too long or has control characters",
        ),
        (HEADER + GOOD.replace("536365", "C536365"), "line 2: cancellation C536365 has a positive quantity"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused_with_its_line(
    tmp_path: Path, text: str | bytes, sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert sentence in refused.value.cause
    assert refused.value.next_step
    assert str(tmp_path) in refused.value.cause


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can't be read: No such file"):
        read_sales(tmp_path / "none.csv")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_byte_order_mark_blank_lines_and_gzip_do_not_matter(tmp_path: Path, newline: str) -> None:
    text = ("\ufeff" + HEADER + GOOD + "\n" + GOOD.replace("HEART", "CAFÉ ☃")).replace("\n", newline)
    plain = read(tmp_path, text)
    packed = read(tmp_path, gzip.compress(text.encode()), "sales.csv.gz")
    assert plain == packed
    assert [line.title for line in plain.lines] == ["HEART HOLDER", "CAFÉ ☃ HOLDER"]
    assert [line.number for line in plain.lines] == [2, 4]


@pytest.mark.parametrize(
    ("text", "pence"),
    [
        ("2.55", 255),
        ("2.5", 250),
        ("2", 200),
        ("0", 0),
        ("13541.33", 1354133),
        ("0.001", 0),
        ("0.005", 1),
        ("1.994", 199),
        ("1.995", 200),
        ("2.500", 250),
    ],
)
def test_prices_become_pence_without_a_float(tmp_path: Path, text: str, pence: int) -> None:
    assert read(tmp_path, HEADER + GOOD.replace("2.55", text)).lines[0].price == pence


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (GOOD.replace("85123A", "85123a"), [(2, "code_spelling")]),
        (GOOD.replace("85123A", " 85123A "), [(2, "code_spelling")]),
        (GOOD.replace("HOLDER", "HOLDER "), [(2, "padded_title")]),
        (GOOD.replace("HEART HOLDER", ""), [(2, "missing_title")]),
        (GOOD.replace("17850", ""), [(2, "missing_customer")]),
        (GOOD + GOOD.replace("08:26", "08:27").replace("85123A", "71053"), [(3, "two_dates")]),
        (GOOD.replace("2.55", "0"), [(2, "free_line")]),
        (GOOD + GOOD, [(3, "repeated_sku")]),
        (GOOD + GOOD.replace("2.55", "2.10"), [(3, "two_prices")]),
        (GOOD.replace("85123A", "post"), [(2, "code_spelling"), (2, "no_stock")]),
        (GOOD.replace("2.55", "0").replace("17850", "").replace(",6,", ",-6,"), [(2, "stock_correction")]),
        (GOOD.replace("2.55", "0").replace("17850", ""), [(2, "stock_correction")]),
        (GOOD.replace(",6,", ",-6,"), [(2, "negative_sale")]),
        (GOOD + GOOD.replace(",6,", ",0,"), [(3, "zero_quantity")]),
        (GOOD + GOOD.replace("536365", "A563185"), [(3, "bookkeeping")]),
        (GOOD + GOOD.replace("2.55", "-11062.06").replace("536365", "536366"), [(3, "bookkeeping")]),
        (GOOD.replace("2.55", "2.555"), [(2, "part_of_a_penny")]),
    ],
)
def test_what_is_unusual_is_written_down_with_its_line(
    tmp_path: Path, lines: str, found: list[tuple[int, str]]
) -> None:
    sales = read(tmp_path, HEADER + lines)
    assert kinds(sales) == found
    assert {kind for _, kind in found} <= KINDS.keys()


def test_the_first_time_of_an_invoice_counts_for_all_its_lines(tmp_path: Path) -> None:
    sales = read(tmp_path, HEADER + GOOD + GOOD.replace("08:26", "08:27").replace("85123A", "71053"))
    assert len({line.at for line in sales.lines}) == 1
    assert sales.lines[0].at.isoformat() == "2010-12-01T08:26:00+00:00"


@pytest.mark.parametrize(
    ("code", "tracked"),
    [("85123A", True), ("DCGS0076", True), ("PADS", True), *((code, False) for code in NOT_ON_A_SHELF)],
)
def test_only_what_lies_on_a_shelf_has_stock(code: str, tracked: bool) -> None:
    assert track_stock(code) is tracked


def test_the_shipped_month_has_the_known_counts() -> None:
    sales = read_sales(shipped_file())
    invoices = invoices_of(sales.lines)
    kinds_of_invoices = Counter(
        "correction" if is_stock_correction(lines) else "cancellation" if invoice[0] == "C" else "sale"
        for invoice, lines in invoices.items()
    )
    assert len(sales.lines) == 42_481
    assert kinds_of_invoices == {"sale": 1559, "cancellation": 326, "correction": 140}
    assert max(map(len, invoices.values())) == 675
    assert (min(line.quantity for line in sales.lines), max(line.quantity for line in sales.lines)) == (
        -9360,
        2880,
    )
    assert max(line.price for line in sales.lines) == 1_354_133
    assert summary_of(sales.findings) == {
        "code_spelling": 238,
        "padded_title": 8380,
        "missing_title": 125,
        "missing_customer": 177,
        "two_dates": 6,
        "free_line": 133,
        "repeated_sku": 866,
        "two_prices": 119,
        "no_stock": 195,
        "stock_correction": 140,
    }
