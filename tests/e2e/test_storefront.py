"""The storefront in a real browser: it shows products on desktop and phone, and needs no script to do so.

Set EVEROPEN_SCREENSHOTS to a folder to keep the pictures and look at them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.integration.api.conftest import STAFF, order_body
from tests.integration.api.worker_process import Running, create_shop_database, running_shop
from tests.support.postgres import running_node

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed here")

TITLES = [
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "GLASS STAR FROSTED",
    'SET OF 3 "NESTING" BOXES',
    "<b>BOLD</b> & CO",
    "תה ☕",
]


@contextmanager
def tcp_door(path: Path) -> Iterator[int]:
    """A TCP port that leads to a Unix socket: browsers know no others."""
    door = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                client, _ = door.accept()
                worker = socket.socket(socket.AF_UNIX)
                worker.connect(str(path))
            except OSError:
                return
            sockets.extend((client, worker))
            for pair in ((client, worker), (worker, client)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    sockets: list[socket.socket] = []
    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(door.getsockname()[1])
    finally:
        door.shutdown(socket.SHUT_RDWR)
        for opened in (door, *sockets):
            opened.close()


@pytest.fixture(scope="module")
def worker() -> Iterator[Running]:
    """A worker with a small catalogue."""
    with running_node() as node, tempfile.TemporaryDirectory(prefix="everopen-e2e-", dir="/tmp") as folder:
        database = asyncio.run(create_shop_database(node))
        with running_shop(Path(folder), database.topology_file) as running:
            products = [
                {
                    "sku": f"S{number:02d}",
                    "title": title,
                    "price": {"amount": 255 + number, "currency": "GBP"},
                }
                for number, title in enumerate(TITLES * 6)
            ]
            stock = [
                {"sku": product["sku"], "quantity": 5 + 7 * index} for index, product in enumerate(products)
            ]
            running.client.put("/api/products", json={"products": products}, headers=STAFF).raise_for_status()
            running.client.post(
                "/api/stock/receipts", json={"items": stock[1:]}, headers=STAFF
            ).raise_for_status()
            yield running


def browse(url: str, *options: str) -> str:
    """What the browser made of a page: its DOM."""
    with tempfile.TemporaryDirectory(prefix="everopen-chromium-") as profile:
        command = [
            str(BROWSER),
            "--headless",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ]
        if os.geteuid() == 0:
            command.append("--no-sandbox")
        done = subprocess.run(
            [*command, *options, url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def picture(url: str, name: str, size: str) -> bytes:
    """A screenshot as PNG."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(os.environ.get("EVEROPEN_SCREENSHOTS", scratch)) / f"{name}.png"
        browse(url, f"--window-size={size}", f"--screenshot={path}")
        return path.read_bytes()


def test_the_shop_shows_its_products_without_scripts(worker: Running) -> None:
    with tcp_door(worker.socket) as port:
        dom = browse(f"http://127.0.0.1:{port}/", "--dump-dom")
    assert "<script" not in dom
    assert dom.count('class="card"') == 24
    assert "White Hanging Heart T-light Holder" in dom
    assert "&lt;b&gt;BOLD&lt;/b&gt; &amp; CO" in dom
    assert "Sold out" in dom
    assert "UCI Online Retail" in dom


@pytest.mark.parametrize(("name", "size"), [("desktop", "1280,1000"), ("phone", "500,1000")])
def test_pages_are_drawn_with_their_style(worker: Running, name: str, size: str) -> None:
    order = worker.client.post("/api/orders", json=order_body("S05", 2)).json()
    with tcp_door(worker.socket) as port:
        for page, path in (("home", "/"), ("product", "/products/S05"), ("order", f"/orders/{order['id']}")):
            drawn = picture(f"http://127.0.0.1:{port}{path}", f"{page}-{name}", size)
            assert drawn.startswith(b"\x89PNG")
            assert struct.unpack(">II", drawn[16:24]) == tuple(int(number) for number in size.split(","))
            assert len(drawn) > 20_000, "an empty or unstyled page compresses to less"


PICTURE = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200"><rect width="200" height="200" fill="#e8f0ff"/>
<path d="M60 60 L140 60 L150 160 L50 160 Z" fill="#b03030"/></svg>"""


class Pictures(BaseHTTPRequestHandler):
    """A site of somebody else that serves pictures."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("content-type", "image/svg+xml")
        self.send_header("content-length", str(len(PICTURE)))
        self.end_headers()
        self.wfile.write(PICTURE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("name", "size"), [("desktop", "1280,1000"), ("phone", "500,1000")])
def test_the_range_is_drawn_with_categories_filters_variants_and_pictures(
    worker: Running, name: str, size: str
) -> None:
    with HTTPServer(("127.0.0.1", 0), Pictures) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        picture_url = f"http://127.0.0.1:{site.server_address[1]}/shirt.svg"
        tree = [("wear", "Clothes", None), ("shirts", "Shirts", "wear"), ("home", "Home", None)]
        categories = [{"id": item, "name": called, "parent": parent} for item, called, parent in tree]
        group = {"id": "tee", "title": "Tee", "varies_by": ["colour", "size"]}
        shirts = [
            {
                "sku": f"TEE-{colour}-{width}",
                "title": "Organic tee",
                "description": "Heavy cotton, made to last.",
                "category": "shirts",
                "group": "tee",
                "attributes": {"colour": [colour], "size": [width], "material": ["cotton"]},
                "images": [picture_url, picture_url] if colour == "red" else [],
                "price": {"amount": 1900 if width != "XL" else 2100, "currency": "GBP"},
                "weight_g": 210,
            }
            for colour in ("red", "blue")
            for width in ("M", "L", "XL")
        ]
        for path, body in (
            ("/api/categories", {"categories": categories}),
            ("/api/groups", {"groups": [group]}),
            ("/api/products", {"products": shirts}),
        ):
            worker.client.put(path, json=body, headers=STAFF).raise_for_status()
        goods = [{"sku": shirt["sku"], "quantity": 3} for shirt in shirts[:-1]]
        worker.client.post("/api/stock/receipts", json={"items": goods}, headers=STAFF).raise_for_status()
        with tcp_door(worker.socket) as port:
            shop = f"http://127.0.0.1:{port}"
            dom = browse(f"{shop}/?category=wear&attribute=colour:red", "--dump-dom")
            assert dom.count('class="card"') == 3
            assert "✓ red" in dom
            for page, path in (
                ("range", "/?category=wear"),
                ("search", "/?q=organic&attribute=colour:red&sort=price"),
                ("variants", "/products/TEE-red-L"),
            ):
                assert len(picture(f"{shop}{path}", f"{page}-{name}", size)) > 20_000
        assert "/shirt.svg" in Pictures.asked
        site.shutdown()
