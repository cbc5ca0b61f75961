"""The page in a browser, where its server is not as usual: below a path, without pictures."""

import http.server
import threading
from contextlib import contextmanager

import httpx2

from data_tools.admin import read_admin_token
from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.raters import open_page as open_page
from tests.raters import step, take_part
from tests.studies import serving, study, triplets

pytestmark = needs_browser


def test_the_page_works_below_a_path_of_a_web_server_in_front(open_page, tmp_path):
    study(tmp_path / "study", triplets(tmp_path / "pictures"), trials=2, practice=0, sentinel_every=0)
    with serving(tmp_path / "study") as url, in_front(url, "/studies/ours") as outside:
        page = open_page(f"{outside}/")
        take_part(page)
        while step(page, "ArrowLeft"):
            pass
        assert len(page.locator(".code").inner_text()) == 8
        page.goto(f"{outside}/admin?key={read_admin_token(tmp_path / 'study')}")
        address = page.get_by_role("link", name="statistics.json").get_attribute("href")
        assert page.evaluate("address => fetch(address).then((found) => found.status)", address) == 200


@contextmanager
def in_front(url, prefix):
    """A web server that passes on what is below a path, without the path."""

    class Passing(http.server.BaseHTTPRequestHandler):
        def pass_on(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            kept = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            found = httpx2.request(self.command, url + self.path.removeprefix(prefix), content=body, headers=kept)
            self.send_response(found.status_code)
            self.send_header("Content-Type", found.headers.get("content-type", "text/plain"))
            self.send_header("Content-Length", str(len(found.content)))
            self.end_headers()
            self.wfile.write(found.content)

        do_GET = do_POST = pass_on  # noqa: N815 -- the base class names them

        def log_message(self, *said):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_picture_that_is_gone_is_said_on_the_page(open_page, tmp_path):
    study(tmp_path / "study", triplets(tmp_path / "pictures"), trials=2, practice=0, sentinel_every=0)
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        (tmp_path / "pictures" / "pictures").rename(tmp_path / "away")
        take_part(page)
        page.get_by_text("A picture of this study is missing on the server").wait_for()
        (tmp_path / "away").rename(tmp_path / "pictures" / "pictures")
        while step(page, "ArrowLeft"):
            pass
        assert page.locator(".code").count() == 1
