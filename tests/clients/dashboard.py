"""The dashboard in Debian's Chromium, as a person uses it.

    dashboard.py lab ADMIN PROGRAM CONTROL DNS HTTPS PICTURES   of a running lab
    dashboard.py token ADMIN TOKEN   of an edge whose admin wants a token
    dashboard.py readers ADMIN FILE READER OPERATOR   of an edge that shows itself to bearers of tokens alone
    dashboard.py unsaved ADMIN   of an edge that cannot save its state
    dashboard.py many ADMIN   of an edge with more services than fit a page
    dashboard.py dry-run ADMIN DNS HTTP PICTURES   of an edge whose regions come back little by little
    dashboard.py reload ADMIN FILE   of an edge that may be broken and mended
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
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

# From the call of the page until regions and map are shown, on a phone; this machine does other things meanwhile.
PHONE_MS = 10_000
PHONE_BYTES = 256 << 10

# As long as a label of a name may be.
LONG = "r" * 63


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


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.slice(0, 40)")


# Marks elements as they are, to see later whether they have been replaced.
MARK = "elements => elements.forEach((element) => { element.marked = true; })"
MARKED = "elements => elements.filter((element) => element.marked).length"


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


def explained(page):
    """The first region of the DNS decision that is shown."""
    return page.locator("#explanation .decision strong").first.text_content()


def explains_as_dns_answers(page, admin, dns):
    addresses = {region["name"]: region["addresses"] for region in get(f"{admin}/api/v1/status")["regions"]}
    form = page.locator("#explain")
    for client in ["203.178.141.194", "193.0.6.139", "18.9.22.69", "200.160.2.3"]:
        form.get_by_label("Client address").fill(client)
        form.get_by_role("button", name="Explain").click()
        expect(page.locator("#explanation")).to_contain_text(f"{client} asks for")
        answered = kdig(dns, "www.lab.example", f"{client}/32")
        assert answered in addresses[explained(page)], (client, answered, explained(page))
    expect(page.locator("#explanation")).to_contain_text("HTTP GET")
    form.get_by_label("Client address").fill("nonsense")
    form.get_by_role("button", name="Explain").click()
    expect(page.locator("#explanation .alarm").first).to_contain_text("nonsense")


def map_explains_where_it_is_clicked(page, dns):
    japan = page.locator('path[data-country="JP"]')
    japan.scroll_into_view_if_needed()
    box = japan.bounding_box()
    # Its middle is sea: the nearest country is meant.
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#explanation")).to_contain_text("a client in JP")
    assert explained(page) == "ap-northeast-1", explained(page)
    expect(page.locator("#explanation .decision").first).to_be_in_viewport()
    page.locator("#map-details summary").click()
    page.get_by_role("button", name="Netherlands", exact=True).click()
    expect(page.locator("#explanation")).to_contain_text("a client in NL")
    assert explained(page) == "eu-west-1", explained(page)
    page.locator("#map-details summary").click()
    # What DNS is asked now is a line on the map.
    for _ in range(20):
        kdig(dns, "www.lab.example", "203.178.141.0/24")
    expect(page.locator('[data-flow="JP ap-northeast-1"]')).to_be_attached(timeout=10_000)


def flips_at_once(page, program, control):
    """Gives what a region can be brought back with, and how many ms after it was killed the screen said so."""
    page.evaluate("""() => {
        const seen = window.seen = {};
        const state = document.querySelector('[data-region="ap-northeast-1"] h3 .state');
        new MutationObserver(() => { seen.shown ??= performance.timeOrigin + performance.now(); })
            .observe(state.parentElement, { childList: true, subtree: true, characterData: true });
    }""")
    # As `lab kill` asks for it, without the start of a process.
    kill = urllib.request.Request(f"http://{control}/kill/ap-northeast-1", method="POST")
    killed = time.time() * 1000
    urllib.request.urlopen(kill).close()
    expect_state(page, "ap-northeast-1", "unhealthy", 20_000)
    expect(card(page, "ap-northeast-1").locator(".why")).to_contain_text("Connection refused")
    expect(page.locator('[data-mark="ap-northeast-1"]')).to_contain_text("unhealthy")
    expect(page.locator("#events")).to_contain_text("ap-northeast-1 is unhealthy")
    expect(page.locator('path[data-country="JP"]')).to_contain_text("eu-west-1", timeout=5_000)
    expect(card(page, "ap-northeast-1").locator(".strip .failed").first).to_be_attached()
    expect(page.locator("#changes")).to_contain_text("ap-northeast-1 is unhealthy")
    return commands(program, control), page.evaluate("window.seen.shown") - killed


def tells_of_each_region(page, admin):
    """All that the card of a region says beside its state, and that this edge is on the map."""
    node = get(f"{admin}/api/v1/status")["node"]
    expect(page.locator("#map-marks .mark.edge")).to_contain_text(f"{node} (this edge)")
    for region in get(f"{admin}/api/v1/status")["regions"]:
        shown = card(page, region["name"])
        expect(page.locator(f'[data-mark="{region["name"]}"]')).to_be_attached()
        expect(shown).to_contain_text(re.compile(r"www: . ?healthy since \d"))
        expect(shown).to_contain_text(re.compile(r"\d ms from here"))
        for origin in region["services"][0]["origins"]:
            expect(shown).to_contain_text(origin["url"])
        # A rate, a rate, three percentiles, and the share of DNS answers.
        facts = shown.locator(".pulse")
        expect(facts).to_contain_text(re.compile(r"DNS answers[\d.,]+/s, \d+ %"))
        expect(facts).to_contain_text(re.compile(r"Requests[\d.,]+/s"))
        expect(facts).to_contain_text(re.compile(r"Errors[\d.,]+/s"))
        expect(facts).to_contain_text("First byte: p50 · p95 · p99")


def tells_probes_without_a_pointer(page):
    legend = page.locator("#probe-legend")
    for phase in ["connect", "TLS", "first byte", "failed"]:
        expect(legend).to_contain_text(phase)
    strip = card(page, "eu-west-1").locator(".strip")
    slider, caption = strip.get_by_role("slider"), strip.locator("figcaption")
    expect(caption).to_contain_text(re.compile(r"\d+ probes, 0 failed"))
    told = re.compile(r": [\d.]+ ms \(connect [\d.]+, TLS [\d.]+, first byte [\d.]+\)")
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", told)
    expect(caption).to_have_text(told)
    first = caption.text_content()
    slider.press("ArrowRight")
    expect(caption).not_to_have_text(first)
    slider.press("ArrowLeft")
    expect(caption).to_have_text(first)
    assert slider.evaluate("node => node === document.activeElement")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + 10)
    expect(caption).to_have_text(told)
    expect(caption).not_to_have_text(first)


def explains_by_path_and_header(page):
    form = page.locator("#explain")
    http = page.locator("#explanation section", has_text="HTTP POST")
    form.get_by_label("Client address").fill("203.178.141.194")
    form.get_by_label("Method").select_option("POST")
    form.get_by_label("Path").fill("/kv/a?b=c")
    form.get_by_label("Header fields").fill("Accept: text/plain\nLab-Home: us-east-1")
    form.get_by_role("button", name="Explain").click()
    expect(http.locator(".decision strong")).to_have_text("us-east-1")
    form.get_by_label("Path").fill("no path")
    form.get_by_role("button", name="Explain").click()
    expect(http.locator(".alarm")).to_contain_text("`no path` is no path")
    # DNS knows of neither.
    expect(page.locator("#explanation section", has_text="DNS A").locator(".decision strong")).to_have_text("ap-northeast-1")
    for field in ["Path", "Header fields"]:
        form.get_by_label(field).fill("")
    form.get_by_label("Method").select_option("GET")


def disturbs_nobody(page):
    """Who reads or stands somewhere keeps the place while probes and answers of DNS come in."""
    assert page.locator("#stale-reads").evaluate("node => node.closest('[role=status], [aria-live]')") is None
    blocks = page.locator(".card section, .card .origin, .card .strip svg")
    count = blocks.count()
    blocks.evaluate_all(MARK)
    detail = card(page, "eu-west-1").locator(".origin p .faint")
    before = detail.text_content()
    expect(detail).not_to_have_text(before)
    assert blocks.evaluate_all(MARKED) == count, "a probe has services built anew"
    page.locator("#map-details summary").click()
    japan = page.get_by_role("button", name="Japan", exact=True)
    japan.focus()
    row = page.locator('#map-rows [data-country="JP"]')
    expect(row).to_contain_text("ap-northeast-1")
    change(page, "PUT", "drains/ap-northeast-1")
    expect(row).not_to_contain_text(re.compile("^Japanap-northeast-1"))
    expect(japan).to_be_focused()
    undo = page.get_by_role("button", name="Undo the drain of ap-northeast-1")
    undo.press("Enter")
    expect(undo).to_have_count(0)
    assert focused(page) == "What drains and forced states are in force", focused(page)
    expect_state(page, "ap-northeast-1", "healthy")
    page.locator("#map-details summary").click()


def change(page, method, what, body=None):
    """Done by somebody else."""
    answer = page.request.fetch(f"{page.evaluate('location.origin')}/api/v1/{what}", method=method, data=body)
    assert answer.ok, answer.text()


def filters(page):
    form = page.locator("#events-filter")
    form.get_by_label("Service").select_option("www")
    expect(page.locator("#events li").first).to_be_attached()
    expect(page.locator("#events li", has_text="for service www")).not_to_have_count(0)
    expect(page.locator("#events li", has_text="configuration 1 is in force")).to_have_count(0)
    # What was done to all services of a region was done to this one.
    expect(page.locator("#events li", has_text="the drain of region ap-northeast-1")).not_to_have_count(0)
    form.get_by_label("Service").select_option("")
    form.get_by_label("Region").select_option("eu-west-1")
    expect(page.locator("#events")).not_to_contain_text("ap-northeast-1 is unhealthy")
    form.get_by_label("Region").select_option("")
    form.get_by_label("Kind").select_option("reload")
    expect(page.locator("#events")).not_to_contain_text("unhealthy")
    form.get_by_label("Kind").select_option("")
    expect(page.locator("#events")).to_contain_text("ap-northeast-1 is unhealthy")


def drains(page):
    card(page, "us-east-1").get_by_role("button", name="Drain").press("Enter")
    dialog = page.locator("#drain-dialog")
    expect(dialog).to_be_visible()
    accessible(page, "the drain dialog")
    dialog.get_by_label("Reason").fill("upgrade")
    dialog.get_by_label("For, such").fill("30m")
    dialog.get_by_role("button", name="Drain").click()
    expect_state(page, "us-east-1", "draining", SOON_MS)
    expect(page.locator("#drains")).to_contain_text("upgrade")
    page.get_by_role("button", name="Undo the drain of us-east-1").click()
    expect_state(page, "us-east-1", "healthy", SOON_MS)


def commands(program, control):
    """Does to the lab what is said."""
    return lambda *words: subprocess.run([program, "lab", *words, "--control", control], check=True, stdout=subprocess.DEVNULL)


def counts_stale_reads(page, program, control):
    """With replication far behind, clients miss their own writes, and through the edge they do not: as long as no region
    dies with what it alone has, which is told as stale."""
    command = commands(program, control)
    regions = ["us-east-1", "eu-west-1", "ap-northeast-1"]
    for region in regions:
        command("lag", region, "2s")
    panel = page.locator("#stale-reads")
    expect(panel).to_have_text(re.compile(r"naive [1-9]\d* of \d+, through Meridian 0 of [1-9]\d*$"), timeout=30_000)
    # Who reads where is how far behind whose writes.
    for region in regions:
        expect(page.locator(f'#lag tr[data-lag-of="{region}"]')).to_contain_text(re.compile(r"[1-9]\d* ms, \d+ behind"), timeout=10_000)
    for region in regions:
        command("lag", region, "300ms")


class Relay:
    """A way to the admin that can be cut and mended."""

    def __init__(self, admin):
        host, port = admin.removeprefix("http://").rsplit(":", 1)
        self.target, self.open, self.sockets = (host, int(port)), True, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            if not self.open:
                client.close()
                continue
            server = socket.create_connection(self.target)
            self.sockets += [client, server]
            for ends in [(client, server), (server, client)]:
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It is cut.

    def cut(self):
        self.open = False
        for end in self.sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It has ended by itself.
        self.sockets = []

    def mend(self):
        self.open = True


def survives_a_break(chromium, admin):
    """After a break the stream goes on after the last event, without one twice."""
    relay = Relay(admin)

    def change(method, what="drains/us-east-1", body=None):
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{admin}/api/v1/{what}", body, headers, method=method)
        urllib.request.urlopen(request).close()

    with opened(chromium, relay.url) as page:
        expect(page.locator("#link")).to_have_text("live")
        # The lab's own writes are told of meanwhile.
        known = page.locator("#events li").filter(has_text="drain")
        # Events are listed in the order of their ids: with this one, all before it are there.
        change("PUT", "forced/eu-west-1", b'{"state": "up", "reason": "the last before the break"}')
        expect(page.locator("#events")).to_contain_text("the last before the break")
        before = known.count()
        relay.cut()
        expect(page.locator("#link")).to_contain_text("not live")
        change("PUT")
        expect_state(page, "us-east-1", "healthy")
        relay.mend()
        expect_state(page, "us-east-1", "draining")
        expect(page.locator("#link")).to_have_text("live")
        # The drain, and that somebody asked for it.
        expect(known).to_have_count(before + 2)
        change("DELETE")
        change("DELETE", "forced/eu-west-1")
        expect_state(page, "us-east-1", "healthy", SOON_MS)


def keyboard_and_themes(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    back = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = back()
    page.get_by_label("Colors").select_option("dark")
    assert back() != light
    page.reload()
    assert back() != light, "the choice is kept"
    accessible(page, "dark")
    page.get_by_label("Colors").select_option("")
    assert back() == light


def tab_to(page, what, most=300):
    for _ in range(most):
        page.keyboard.press("Tab")
        if what.evaluate("node => node === document.activeElement"):
            return
    raise AssertionError(f"no Tab leads to {what}")


def operates_by_keyboard_alone(page):
    drain = card(page, "us-east-1").get_by_role("button", name="Drain")
    dialog = page.locator("#drain-dialog")
    tab_to(page, drain)
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(drain).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, dialog.get_by_label("Reason"), 30)
    page.keyboard.type("by keyboard")
    tab_to(page, dialog.get_by_role("button", name="Drain"), 30)
    page.keyboard.press("Enter")
    expect_state(page, "us-east-1", "draining")
    expect(page.locator("#drains")).to_contain_text("by keyboard")
    tab_to(page, page.get_by_role("button", name="Undo the drain of us-east-1"))
    page.keyboard.press("Enter")
    expect_state(page, "us-east-1", "healthy")
    tab_to(page, page.locator("#explain").get_by_label("Client address"))
    page.keyboard.press("Control+A")
    page.keyboard.type("203.178.141.194")
    page.keyboard.press("Enter")
    expect(page.locator("#explanation")).to_contain_text("203.178.141.194 asks for")


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


def pictures(chromium, admin, folder):
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"light": (1280, 1500, "light"), "dark": (1280, 1500, "dark"), "phone": (390, 1400, "light")}
    for name, (width, height, scheme) in shapes.items():
        with opened(chromium, admin, viewport={"width": width, "height": height}, color_scheme=scheme) as page:
            expect_state(page, "eu-west-1", "healthy")
            expect(page.locator('path[data-country="JP"]')).to_contain_text("ap-northeast-1")
            form = page.locator("#explain")
            form.get_by_label("Client address").fill("203.178.141.194")
            form.get_by_role("button", name="Explain").click()
            expect(page.locator("#explanation")).to_contain_text("asks for")
            expect(page.locator(".flow").first).to_be_attached()
            expect(card(page, "eu-west-1").locator(".pulse")).to_contain_text(" ms")
            width_shown = page.evaluate("document.documentElement.scrollWidth")
            assert width_shown <= width, f"{name} scrolls sideways: {width_shown}"
            accessible(page, name)
            if name == "light":
                (folder / "shown.txt").write_text(page.evaluate(OUTLINE, "body"))
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=folder / f"dashboard-{name}.png")


def lab(admin, program, control, dns, https, folder):
    with browser() as chromium:
        with opened(chromium, admin, viewport={"width": 1280, "height": 900}) as page:
            for region in ["us-east-1", "eu-west-1", "ap-northeast-1"]:
                expect_state(page, region, "healthy")
                expect(card(page, region).locator(".strip .first_byte").first).to_be_attached()
            expect(page.locator("#map-land [data-country]")).not_to_have_count(0)
            counts_stale_reads(page, program, control)
            keyboard_and_themes(page)
            accessible(page, "light")
            explains_as_dns_answers(page, admin, dns)
            map_explains_where_it_is_clicked(page, dns)
            tells_of_each_region(page, admin)
            tells_probes_without_a_pointer(page)
            explains_by_path_and_header(page)
            disturbs_nobody(page)
            command, took = flips_at_once(page, program, control)
            print(f"on the screen {took:.0f} ms after the kill")
            assert took < SOON_MS, f"{took} ms from the kill to the screen"
            filters(page)
            command("restore", "ap-northeast-1")
            expect_state(page, "ap-northeast-1", "healthy", 20_000)
            drains(page)
            operates_by_keyboard_alone(page)
        survives_a_break(chromium, admin)
        # For the pictures there are clients.
        for client in ["203.178.141.0/24", "193.0.6.0/24", "18.9.22.0/24", "200.160.2.0/24", "203.197.0.0/24"]:
            for _ in range(5):
                kdig(dns, "www.lab.example", client)
                requests(https, 4)
        pictures(chromium, admin, folder)
        quick_on_a_phone(chromium, admin)
        without_scripts(chromium, admin)


def quick_on_a_phone(chromium, admin):
    """A processor a quarter as fast, and what Chromium's tools call a slow 4G network."""
    with opened(chromium, admin, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as page:
        phone = page.context.new_cdp_session(page)
        network = {"offline": False, "latency": 150, "downloadThroughput": 1_600_000 / 8, "uploadThroughput": 750_000 / 8}
        phone.send("Network.emulateNetworkConditions", network)
        phone.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        phone.send("Network.setCacheDisabled", {"cacheDisabled": True})
        page.goto(f"{admin}/")
        expect_state(page, "eu-west-1", "healthy", PHONE_MS)
        page.locator("#map-land [data-country]").first.wait_for(state="attached", timeout=PHONE_MS)
        took = page.evaluate("performance.now()")
        loaded = page.evaluate("performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)")
        print(f"on a phone: {loaded / 1024:.0f} KiB, shown within {took:.0f} ms")
        assert took < PHONE_MS, f"{took} ms on a phone"
        assert 0 < loaded < PHONE_BYTES, f"{loaded} bytes on a phone"


def without_scripts(chromium, admin):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{admin}/")
    rows = page.locator("noscript tr", has_text="eu-west-1")
    expect(rows).to_contain_text("healthy")
    expect(rows).to_contain_text("ok")
    # What works by scripts alone is not there.
    expect(page.locator("button:visible, select:visible, .skip:visible")).to_have_count(0)
    context.close()


def press(page, region, word):
    """Opens one of the two dialogs of a region's card, and gives it."""
    card(page, region).get_by_role("button", name=word).press("Enter")
    dialog = page.locator(f"#{word.lower()}-dialog")
    expect(dialog).to_be_visible()
    return dialog


def show_token(page, token):
    dialog = page.locator("#token-dialog")
    dialog.get_by_label("Token").fill(token)
    dialog.get_by_role("button", name="Use it").click()


def enter_never_cancels(page):
    """In the dialogs of a region's card: Enter does what the first button does."""
    dialog = press(page, "near", "Drain")
    dialog.get_by_label("Reason").fill("by Enter")
    dialog.get_by_label("Reason").press("Enter")
    show_token(page, "wrong")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("status")).to_contain_text("the bearer token is not the right one")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()


def token(admin, right):
    said = lambda: [get(f"{admin}/api/v1/status")[key] for key in ("drains", "forced")]
    with browser() as chromium, opened(chromium, admin) as page:
        expect_state(page, "near", "healthy")
        for word in ["Drain", "Force"]:
            dialog = press(page, "near", word)
            accessible(page, word)
            dialog.get_by_role("button", name=word).click()
            show_token(page, "wrong")
            expect(dialog.get_by_role("status")).to_contain_text("token")
            dialog.get_by_role("button", name="Cancel").click()
        enter_never_cancels(page)
        assert said() == [[], []], said()
        press(page, "near", "Drain").get_by_role("button", name="Drain").click()
        show_token(page, right)
        expect_state(page, "near", "draining")
        # Once is enough.
        page.get_by_role("button", name="Undo the drain of near").click()
        expect_state(page, "near", "healthy")
        assert page.evaluate("JSON.stringify([localStorage, document.cookie])").find(right) < 0
        assert right in page.evaluate("JSON.stringify(sessionStorage)")
        forces(page)
        assert said() == [[], []], said()
        page.locator("#events-filter").get_by_label("Kind").select_option("audit")
        events = page.locator("#events")
        expect(events).to_contain_text("(unknown) from 127.0.0.1: PUT /api/v1/forced/near refused")
        expect(events).to_contain_text("admin from 127.0.0.1: PUT /api/v1/forced/near done")
        expect(events).to_contain_text("admin from 127.0.0.1: DELETE /api/v1/drains/near done")
        expect(events).not_to_contain_text("near is unhealthy")


def forces(page):
    dialog = press(page, "near", "Force")
    dialog.get_by_label("Reason").fill("bad disks")
    dialog.get_by_label("Reason").press("Enter")
    expect_state(page, "near", "unhealthy", SOON_MS)
    expect(card(page, "near")).to_contain_text("forced down")
    expect(card(page, "near").locator(".why")).to_contain_text("bad disks")
    expect(page.locator("#drains tr", has_text="forced down")).to_contain_text("bad disks")
    accessible(page, "a forced region")
    page.get_by_role("button", name="Undo the forced state of near").press("Enter")
    expect_state(page, "near", "healthy", SOON_MS)
    expect(card(page, "near")).not_to_contain_text("forced")
    # Its probes find nobody.
    expect_state(page, "far", "unhealthy")
    dialog = press(page, "far", "Force")
    dialog.get_by_label("To count as").select_option("up")
    dialog.get_by_label("Service").select_option("www")
    dialog.get_by_role("button", name="Force").click()
    expect_state(page, "far", "healthy", SOON_MS)
    expect(card(page, "far")).to_contain_text("forced up")
    page.get_by_role("button", name="Undo the forced state of far for www").click()
    expect_state(page, "far", "unhealthy", SOON_MS)
    tells_an_outage(page)


def tells_an_outage(page):
    outage = page.locator("#outage")
    expect(outage).to_be_hidden()
    press(page, "near", "Drain").get_by_role("button", name="Drain").click()
    expect(outage).to_contain_text("No region is able for www: clients are sent to regions that are unhealthy all the same")
    expect(outage).to_contain_text("near: healthy and drained; undo the drain")
    accessible(page, "an outage")
    page.get_by_role("button", name="Undo the drain of near").click()
    expect(outage).to_be_hidden()


def unsaved(admin):
    with browser() as chromium, opened(chromium, admin) as page:
        expect_state(page, "near", "healthy")
        lost = "It would not outlive a restart of the edge: state_dir"
        press(page, "near", "Drain").get_by_role("button", name="Drain").click()
        expect(page.locator("#drain-message")).to_contain_text(f"near is drained. {lost}")
        accessible(page, "a drain that is not saved")
        press(page, "near", "Force").get_by_role("button", name="Force").click()
        expect(page.locator("#drain-message")).to_contain_text(f"near is forced down. {lost}")
        page.get_by_role("button", name="Undo the drain of near").click()
        expect(page.locator("#drain-message")).to_contain_text(f"near is back. {lost}")


def dry_run(admin, dns, http, folder):
    with browser() as chromium, opened(chromium, admin) as page:
        for region in ["near", "far"]:
            expect_state(page, region, "healthy")
        for client in ["193.0.6.0/24"] * 5 + ["18.9.22.0/24"]:
            kdig(dns, "www.example.com", client)
        command = ["curl", "-s", "--connect-to", f"::{http}", "http://www.example.com/[1-3]"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        looks_ahead(page, admin, folder)
        leaves_and_comes_back_little_by_little(page)
        looks_ahead_at_a_guard(page, admin)


def cells(dialog, first):
    return dialog.locator("tr", has=dialog.page.get_by_role("rowheader", name=first, exact=True)).locator("td").all_text_contents()


def looks_ahead(page, admin, folder):
    dialog = press(page, "near", "Drain")
    dialog.get_by_label("Over, such").fill("10m")
    dialog.get_by_label("Over, such").press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text("The drain of near would be done over 10m. Nothing is changed yet.")
    expect(dialog.get_by_role("status")).to_contain_text("left with far: enough for its guards.min_regions, 1")
    accessible(page, "a dry run")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shown-drain.txt").write_text(page.evaluate(OUTLINE, "#drain-dialog"))
    dialog.screenshot(path=folder / "dashboard-drain.png")
    asked = urllib.request.Request(f"{admin}/api/v1/drains/near?dry_run=true", method="PUT")
    with urllib.request.urlopen(asked) as answer:
        clients = json.load(answer)["services"][0]["clients"]
    shares = [f"{clients[key]} %" for key in ("ipv4_percent", "ipv6_percent")]
    assert 10 < clients["ipv4_percent"] < 90, clients
    # By the map, by six answers of DNS and by three of HTTP.
    assert cells(dialog, "far") == [*shares, "about 5", "about 3"], cells(dialog, "far")
    assert cells(dialog, "all that would move") == [*shares, "5 of 6", "3 of 3"], cells(dialog, "all that would move")
    # What was told is of other fields now, and of another region later.
    dialog.get_by_label("Over, such").fill("5m")
    expect(dialog.get_by_role("status")).to_be_empty()
    dialog.get_by_role("button", name="Cancel").click()
    assert get(f"{admin}/api/v1/status")["drains"] == []
    forgets_an_answer_that_comes_late(page)


def forgets_an_answer_that_comes_late(page):
    held = []
    page.route("**/api/v1/drains/near?dry_run=true", lambda route: held.append(route))
    dialog = press(page, "near", "Drain")
    with page.expect_request("**/api/v1/drains/near?dry_run=true"):
        dialog.get_by_role("button", name="What would happen?").click()
    dialog.get_by_role("button", name="Cancel").click()
    press(page, "far", "Drain")
    with page.expect_response("**/api/v1/drains/near?dry_run=true") as answered:
        held[0].continue_()
    answered.value.finished()
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(dialog.get_by_role("status")).to_be_empty()
    dialog.get_by_role("button", name="Cancel").click()
    page.unroute("**/api/v1/drains/near?dry_run=true")


def leaves_and_comes_back_little_by_little(page):
    dialog = press(page, "near", "Drain")
    dialog.get_by_label("Over, such").fill("1m")
    dialog.get_by_role("button", name="Drain").click()
    expect_state(page, "near", "draining", SOON_MS)
    share = card(page, "near").locator(".share")
    expect(share).to_contain_text(re.compile(r"leaving little by little: takes [1-9]\d % of new clients"))
    expect(page.locator("#drains tr", has_text="near")).to_contain_text(re.compile(r"leaving little by little: takes [1-9]\d %"))
    accessible(page, "a gradual drain")
    progress = share.locator("progress")
    first = progress.get_attribute("value")
    expect(progress).not_to_have_attribute("value", first)
    assert int(progress.get_attribute("value")) < int(first), first
    page.get_by_role("button", name="Undo the drain of near").click()
    expect_state(page, "near", "healthy", SOON_MS)
    expect(share).to_contain_text(re.compile(r"coming back little by little: takes [1-9]\d % of new clients"))


def looks_ahead_at_a_guard(page, admin):
    press(page, "far", "Drain").get_by_role("button", name="Drain").click()
    expect_state(page, "far", "draining", SOON_MS)
    dialog = press(page, "near", "Drain")
    dialog.get_by_role("button", name="What would happen?").click()
    expect(dialog.locator(".alarm")).to_have_text("A guard would refuse the drain of near.")
    expect(dialog.get_by_role("status")).to_contain_text("left with no region: too few for its guards.min_regions, 1. "
        "Whoever moves goes to regions that are unhealthy, drained or leaving.")
    dialog.get_by_role("button", name="Drain").click()
    expect(dialog.locator(".alarm")).to_contain_text("this would leave service `www` with 0 healthy region(s)")
    dialog.get_by_role("button", name="Cancel").click()
    assert [drain["region"] for drain in get(f"{admin}/api/v1/status")["drains"]] == ["far"]


def reload(admin, file):
    file = pathlib.Path(file)
    good = file.read_text()

    def write(text):
        new = file.with_name(".new")
        new.write_text(text)
        new.rename(file)

    with browser() as chromium, opened(chromium, admin) as page:
        expect(page.locator("#config-state")).to_contain_text("Generation 1")
        write(good.replace("policy: priority", "policy: prioritty"))
        error = page.locator("#config-error")
        expect(error).to_contain_text("prioritty", timeout=15_000)
        expect(error.locator("pre")).to_contain_text("edge.yaml:")
        expect(error.locator("pre")).to_contain_text("steering: { policy: prioritty }")
        accessible(page, "a refused reload")
        page.get_by_role("button", name="Reload").click()
        message = page.locator("#reload-message")
        expect(message.locator("pre")).to_contain_text("steering: { policy: prioritty }")
        plain = text_without_scripts(chromium, admin)
        assert "The last reload was refused and nothing changed." in plain and "prioritty" in plain, plain
        write(good.replace("policy: priority", "policy: geo").replace("interval: 300ms", "interval: 5s"))
        expect(page.locator("#config-state")).to_contain_text("Generation 2", timeout=15_000)
        changed = "service www changed: steering.policy priority → geo, health.interval 300ms → 5s"
        expect(page.locator("#config-changes")).to_contain_text(changed)
        expect(error).to_be_hidden()
        expect(message).to_be_empty()
        tells_what_is_wrong_with_the_edge(page)
        tells_operators_without_scripts(chromium, admin, page)


def text_without_scripts(chromium, admin):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{admin}/")
    text = page.locator("noscript").inner_text()
    context.close()
    return text


def tells_what_is_wrong_with_the_edge(page):
    def troubled(route):
        status = route.fetch().json()
        route.fulfill(json={**status, "trouble": ["the audit log cannot be written: no space left"]})

    trouble = page.get_by_role("alert").filter(has_text="the audit log cannot be written: no space left")
    expect(trouble).to_have_count(0)
    page.route("**/api/v1/status", troubled)
    expect(trouble).to_be_visible()
    accessible(page, "trouble")
    page.unroute("**/api/v1/status")
    expect(trouble).to_have_count(0)


def tells_operators_without_scripts(chromium, admin, page):
    change(page, "PUT", "drains/near", {"reason": "new disks"})
    # Its probes find nobody.
    expect_state(page, "far", "unhealthy")
    plain = text_without_scripts(chromium, admin)
    assert "No region is able for www" in plain and "new disks" in plain, plain
    change(page, "DELETE", "drains/near")


def readers(admin, file, reader, operator):
    """An edge that shows itself to bearers alone: the page asks for a token, for another once that is taken away, and for nothing
    else meanwhile."""
    file = pathlib.Path(file)
    with browser() as chromium:
        plain = text_without_scripts(chromium, admin)
        assert "bearers of a token alone" in plain and "meridian status" in plain, plain
        with opened(chromium, admin) as page:
            page.clock.install()
            page.reload()
            dialog = page.locator("#token-dialog")
            expect(dialog).to_be_visible()
            expect(dialog.get_by_role("alert")).to_contain_text("a bearer token is needed")
            accessible(page, "the token dialog")
            show_token(page, reader)
            expect_state(page, "near", "healthy")
            expect(page.locator("#link")).to_have_text("live")
            sees_and_changes_nothing(page, admin, reader)
            new = file.with_name(".new")
            new.write_text(file.read_text().replace(reader, f"{reader}-of-tomorrow"))
            new.rename(file)
            stops_with_a_token_that_is_taken_away(page, admin, operator)
            show_token(page, f"{reader}-of-tomorrow")
            expect(page.locator("#link")).to_have_text("live")
            expect(page.locator("#summary")).to_contain_text("regions healthy")


def sees_and_changes_nothing(page, admin, reader):
    dialog = press(page, "near", "Drain")
    dialog.get_by_role("button", name="Drain").click()
    expect(dialog.locator(".alarm")).to_contain_text("this token may see and not change: its role is read")
    dialog.get_by_role("button", name="Cancel").click()
    status = urllib.request.Request(f"{admin}/api/v1/status", headers={"Authorization": f"Bearer {reader}"})
    assert get(status)["drains"] == []


def stops_with_a_token_that_is_taken_away(page, admin, operator):
    dialog = page.locator("#token-dialog")
    expect(dialog).to_be_visible(timeout=15_000)
    expect(dialog.get_by_role("alert")).to_contain_text("the bearer token is not the right one")
    expect(page.locator("#link")).to_contain_text("not live")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("#summary")).to_contain_text("Nothing is asked of the edge until it is given a token")
    assert page.evaluate("sessionStorage.length") == 0, "it would be shown again by a reload"
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    # Each that the page asked by itself would count as a guess.
    page.clock.fast_forward("01:00")
    page.evaluate("0")
    assert not asked, asked
    status = urllib.request.Request(f"{admin}/api/v1/status", headers={"Authorization": f"Bearer {operator}"})
    assert get(status)["ready"]
    page.get_by_role("button", name="Token …").click()


def many(admin):
    """30 regions of 4 services: what is not looked at is not built, nor is it built anew."""
    with browser() as chromium, opened(chromium, admin) as page:
        expect(page.locator(".card")).to_have_count(30)
        expect(page.locator(".strip")).to_have_count(0)
        last = card(page, "r29")
        expect(last.locator("summary")).to_contain_text("4 services")
        accessible(page, "many services")
        last.locator("summary").click()
        expect(last.locator(".strip")).to_have_count(4)
        expect(last.locator("section").first).to_contain_text("s0: ")
        elements = page.evaluate("document.querySelectorAll('*').length")
        assert elements < 10_000, elements
        swatches = page.locator(".card h3 .swatch").evaluate_all("all => all.map((swatch) => getComputedStyle(swatch).backgroundColor)")
        assert len(set(swatches)) == 24, swatches
        dialog = press(page, "r29", "Drain")
        expect(dialog.get_by_label("Service").locator("option", has_text="small")).to_have_count(0)
        dialog.get_by_role("button", name="Cancel").click()
        page.set_viewport_size({"width": 320, "height": 640})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 320, f"scrolls sideways: {wide}"
        dialog = press(page, LONG, "Drain")
        inside, outside = dialog.evaluate("node => [node.scrollWidth, node.clientWidth]")
        assert inside <= outside, (inside, outside)


match sys.argv[1:]:
    case ["lab", admin, program, control, dns, https, folder]:
        lab(admin, program, control, dns, https, pathlib.Path(folder))
    case ["token", admin, right]:
        token(admin, right)
    case ["readers", admin, file, reader, operator]:
        readers(admin, file, reader, operator)
    case ["many", admin]:
        many(admin)
    case ["unsaved", admin]:
        unsaved(admin)
    case ["dry-run", admin, dns, http, folder]:
        dry_run(admin, dns, http, pathlib.Path(folder))
    case ["reload", admin, file]:
        reload(admin, file)
    case _:
        sys.exit(__doc__)
print("all is well")
