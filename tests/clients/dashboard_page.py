"""What every scene of the dashboard does with the page: opens it, reads it, changes something, and judges how accessible it is."""

import json
import pathlib
import subprocess
import urllib.request
from contextlib import contextmanager

import axe_playwright_python
from playwright.sync_api import expect, sync_playwright

# As on the console; each is a failure of its own.
VIOLATION = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective + " " + event.blockedURI));
"""

AXE = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

# From the command that changes something to the change on the screen.
SOON_MS = 1000


@contextmanager
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def opened(chromium, admin, **settings):
    """The page; at its end nothing may have been asked of anybody else, thrown or forbidden."""
    context = chromium.new_context(**settings)
    page = context.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(f"thrown: {error}"))
    page.on("response", lambda response: response.status == 404 and wrong.append(f"not there: {response.url}"))
    page.add_init_script(VIOLATION)
    page.goto(f"{admin}/")
    yield page
    wrong += page.evaluate("window.violations ?? []")
    elsewhere = [url for url in asked if not url.startswith(f"{admin}/")]
    assert asked and not elsewhere, elsewhere
    assert not wrong, wrong
    context.close()


def card(page, region):
    return page.locator(f'[data-region="{region}"]')


def expect_state(page, region, state, within_ms=10_000):
    expect(card(page, region).locator("h3 .state")).to_contain_text(state, timeout=within_ms)


def accessible(page, what):
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    grave = [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found if rule["impact"] != "minor"]
    assert not grave, (what, grave)


def kdig(dns, name, subnet):
    address, port = dns.rsplit(":", 1)
    words = ["kdig", f"@{address}", "-p", port, name, "A", f"+subnet={subnet}", "+short"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def requests(https, number):
    command = ["curl", "-sk", "--connect-to", f"::{https}", f"https://www.lab.example/echo?[1-{number}]"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def get(url):
    with urllib.request.urlopen(url) as response:
        return json.load(response)


def change(page, method, what, body=None, token=None):
    """Done by somebody else."""
    headers = {"Authorization": f"Bearer {token}"} if token else None
    answer = page.request.fetch(f"{page.evaluate('location.origin')}/api/v1/{what}", method=method, data=body, headers=headers)
    assert answer.ok, answer.text()


def commands(program, control):
    """Does to the lab what is said."""
    return lambda *words: subprocess.run([program, "lab", *words, "--control", control], check=True, stdout=subprocess.DEVNULL)


# What the page is made of in words, each once: not what it shows of the moment.
OUTLINE = """(where) => {
    const own = (element) => [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join(" ");
    const wanted = document.querySelector(where).querySelectorAll("h1, h2, h3, h4, legend, label, button, summary, caption, dt, thead th");
    const shown = [...wanted].filter((element) => element.checkVisibility() && !element.closest("#lag"));
    const lines = shown.map((element) => {
        const words = own(element).replace(/\\s+/g, " ").trim();
        return words && `${element.localName} ${words}`;
    });
    return [...new Set(lines.filter(Boolean))].join("\\n") + "\\n";
}"""
