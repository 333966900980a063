"""The dashboard of a running lab: what is routed where and why, while it changes."""

import re
import socket
import threading
import time
import urllib.request

from playwright.sync_api import expect

from dashboard_page import (
    accessible, browser, card, change, commands, expect_state, get, kdig, opened, OUTLINE, requests, SOON_MS)

# From the call of the page until regions and map are shown, on a phone; this machine does other things meanwhile.
PHONE_MS = 10_000

PHONE_BYTES = 256 << 10


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.slice(0, 40)")


# Marks elements as they are, to see later whether they have been replaced.
MARK = "elements => elements.forEach((element) => { element.marked = true; })"

MARKED = "elements => elements.filter((element) => element.marked).length"


def explained(page):
    """The first region of the DNS decision that is shown."""
    return page.locator("#explanation .decision strong").first.text_content()


def explains_as_dns_answers(page, admin, dns):
    addresses = {region["name"]: region["addresses"] for region in get(f"{admin}/api/v1/status")["regions"]}
    form = page.locator("#explain")
    for client in ["203.178.141.194", "193.0.6.139", "18.9.22.69", "200.160.2.3"]:
        form.get_by_label("Client address").fill(client)
        form.get_by_role("button", name="Explain").press("Enter")
        expect(page.locator("#explanation")).to_contain_text(f"{client} asks for")
        answered = kdig(dns, "www.lab.example", f"{client}/32")
        assert answered in addresses[explained(page)], (client, answered, explained(page))
    expect(page.locator("#explanation")).to_contain_text("HTTP GET")
    form.get_by_label("Client address").fill("nonsense")
    form.get_by_role("button", name="Explain").press("Enter")
    expect(page.locator("#explanation .alarm").first).to_contain_text("nonsense")


def on_screen(page, latitude, longitude):
    """Where a place of the map, whose unit is a fifth of a degree, is on the screen."""
    page.locator("#map").scroll_into_view_if_needed()
    point = page.locator("#map").evaluate(
        "(map, [x, y]) => new DOMPoint(x, y).matrixTransform(map.getScreenCTM())", [longitude * 5, -latitude * 5]
    )
    return point["x"], point["y"]


def map_explains_where_it_is_clicked(page, dns):
    japan = page.locator('path[data-country="JP"]')
    japan.scroll_into_view_if_needed()
    box = japan.bounding_box()
    # Its middle is sea: the nearest country is meant.
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#explanation")).to_contain_text("a client in JP")
    assert explained(page) == "ap-northeast-1", explained(page)
    expect(page.locator("#explanation .decision").first).to_be_in_viewport()
    # Off San Francisco, off Fiji across the date line, and where the name of a region stands on its land.
    for latitude, longitude, country in [(37.5, -126, "US"), (-18, -179.4, "FJ"), (38.95, -77.45, "US")]:
        page.mouse.click(*on_screen(page, latitude, longitude))
        expect(page.locator("#explanation")).to_contain_text(f"a client in {country}")
    page.locator("#map-details summary").click()
    page.get_by_role("button", name="Netherlands", exact=True).press("Enter")
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
    form.get_by_role("button", name="Explain").press("Enter")
    expect(http.locator(".decision strong")).to_have_text("us-east-1")
    form.get_by_label("Path").fill("no path")
    form.get_by_role("button", name="Explain").press("Enter")
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
    dialog.get_by_role("button", name="Drain").press("Enter")
    expect_state(page, "us-east-1", "draining", SOON_MS)
    expect(page.locator("#drains")).to_contain_text("upgrade")
    page.get_by_role("button", name="Undo the drain of us-east-1").press("Enter")
    expect_state(page, "us-east-1", "healthy", SOON_MS)


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


def pictures(chromium, admin, folder):
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"light": (1280, 1500, "light"), "dark": (1280, 1500, "dark"), "phone": (390, 1400, "light")}
    for name, (width, height, scheme) in shapes.items():
        with opened(chromium, admin, viewport={"width": width, "height": height}, color_scheme=scheme) as page:
            expect_state(page, "eu-west-1", "healthy")
            expect(page.locator('path[data-country="JP"]')).to_contain_text("ap-northeast-1")
            form = page.locator("#explain")
            form.get_by_label("Client address").fill("203.178.141.194")
            form.get_by_role("button", name="Explain").press("Enter")
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
