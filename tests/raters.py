"""People who take part in the experiment, in a browser."""

import pytest

READY = ".choice button:not([aria-disabled])"  # from when on answers count


@pytest.fixture
def open_page(browser):
    contexts = []

    def opened(url, context=None, script="", **options):
        if context is None:
            context = browser.new_context(**options)
            contexts.append(context)
        page = context.new_page()
        page.failures = []
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.on("console", lambda said: page.failures.append(said.text) if said.type == "error" else None)
        page.add_init_script(script)
        page.set_default_timeout(15_000)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()


def click(page, name):
    page.get_by_role("button", name=name).click()


def take_part(page):
    click(page, "I agree")
    click(page, "Begin")


def step(page, key):
    """Answer one screen, practice feedback included; whether there was one."""
    page.locator(f"{READY}, .code, button:has-text('Go on')").first.wait_for()
    if page.locator(".code").count():
        return False
    before = page.locator("#experiment").inner_html()
    if page.locator("button:has-text('Go on')").count():
        click(page, "Go on")
    elif key:
        page.keyboard.press(key)
    else:
        page.locator(".choice button").first.click()
    page.wait_for_function("before => document.querySelector('#experiment').innerHTML !== before", arg=before)
    return True
