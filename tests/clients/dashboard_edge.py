"""The dashboard of an edge that is drained, reloaded, broken, full, or open to bearers of tokens alone."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

from playwright.sync_api import expect

from dashboard_page import (
    accessible, browser, card, change, expect_state, get, kdig, opened, OUTLINE, SOON_MS)

# As long as a label of a name may be.
LONG = "r" * 63


def press(page, region, word):
    """
    Opens one of the two dialogs of a region's card, and gives it. Buttons are pressed by keyboard in these scenes: what
    comes on screen above one while the mouse is down moves it away, and nothing is clicked.
    """
    card(page, region).get_by_role("button", name=word).press("Enter")
    dialog = page.locator(f"#{word.lower()}-dialog")
    expect(dialog).to_be_visible()
    return dialog


def show_token(page, token):
    dialog = page.locator("#token-dialog")
    dialog.get_by_label("Token").fill(token)
    dialog.get_by_role("button", name="Use it").press("Enter")


def enter_never_cancels(page):
    """In the dialogs of a region's card: Enter does what the first button does."""
    dialog = press(page, "near", "Drain")
    dialog.get_by_label("Reason").fill("by Enter")
    dialog.get_by_label("Reason").press("Enter")
    show_token(page, "wrong")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("status")).to_contain_text("the bearer token is not the right one")
    dialog.get_by_role("button", name="Cancel").press("Enter")
    expect(dialog).to_be_hidden()


def token(admin, right):
    said = lambda: [get(f"{admin}/api/v1/status")[key] for key in ("drains", "forced")]
    with browser() as chromium, opened(chromium, admin) as page:
        expect_state(page, "near", "healthy")
        for word in ["Drain", "Force"]:
            dialog = press(page, "near", word)
            accessible(page, word)
            dialog.get_by_role("button", name=word).press("Enter")
            show_token(page, "wrong")
            expect(dialog.get_by_role("status")).to_contain_text("token")
            dialog.get_by_role("button", name="Cancel").press("Enter")
        enter_never_cancels(page)
        assert said() == [[], []], said()
        press(page, "near", "Drain").get_by_role("button", name="Drain").press("Enter")
        show_token(page, right)
        expect_state(page, "near", "draining")
        moves_nothing_from_under_the_mouse(page, right)
        # Once is enough.
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


# What ends a press, and how many rows there are since, each with its time.
TRACE = """
window.trace = [];
const note = (what) => trace.push(`${Math.round(performance.now())} ${what}`);
for (const name of ["pointerdown", "pointerup", "pointercancel", "blur"]) window.addEventListener(name, () => note(name));
const rows = () => note(`${document.querySelectorAll("#drains tr").length} rows`);
new MutationObserver(rows).observe(document.getElementById("drains"), { childList: true });
"""


def moves_nothing_from_under_the_mouse(page, token):
    """Whoever presses a button undoes what stands there, though other rows come above it meanwhile."""
    undo = page.get_by_role("button", name="Undo the drain of near")
    status = "**/api/v1/status"
    held = []
    page.route(status, lambda route: held.append(route), times=1)
    # The page asks once at a time: what it asked before is answered and shown, with one row.
    while not held:
        page.evaluate("new Promise(requestAnimationFrame)")
    change(page, "PUT", "drains/far", token=token)
    page.evaluate(TRACE)
    undo.hover()
    page.mouse.down()
    with page.expect_response(status) as answered:
        held[0].continue_()
    drains = answered.value.json()["drains"]
    assert len(drains) == 2, drains
    page.evaluate("new Promise(requestAnimationFrame)")
    assert page.locator("#drains tr").count() == 1, page.evaluate("trace")
    page.mouse.up()
    other = page.get_by_role("button", name="Undo the drain of far")
    expect(other).to_be_visible()
    expect(undo).to_have_count(0)
    other.press("Enter")
    expect(other).to_have_count(0)
    stands_still_for_no_press_without_an_end(page, token)


def stands_still_for_no_press_without_an_end(page, token):
    """A menu that a press opens, or another window, takes its end."""
    page.evaluate("document.dispatchEvent(new PointerEvent('pointerdown', { button: 2 }))")
    change(page, "PUT", "drains/near", token=token)
    again = page.get_by_role("button", name="Undo the drain of near")
    expect(again).to_be_visible()
    page.evaluate("document.dispatchEvent(new PointerEvent('pointerdown', { button: 0 }))")
    change(page, "DELETE", "drains/near", token=token)
    expect(again).to_have_count(0, timeout=15_000)


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
    dialog.get_by_role("button", name="Force").press("Enter")
    expect_state(page, "far", "healthy", SOON_MS)
    expect(card(page, "far")).to_contain_text("forced up")
    page.get_by_role("button", name="Undo the forced state of far for www").press("Enter")
    expect_state(page, "far", "unhealthy", SOON_MS)
    tells_an_outage(page)


def tells_an_outage(page):
    outage = page.locator("#outage")
    expect(outage).to_be_hidden()
    press(page, "near", "Drain").get_by_role("button", name="Drain").press("Enter")
    expect(outage).to_contain_text("No region is able for www: clients are sent to regions that are unhealthy all the same")
    expect(outage).to_contain_text("near: healthy and drained; undo the drain")
    accessible(page, "an outage")
    page.get_by_role("button", name="Undo the drain of near").press("Enter")
    expect(outage).to_be_hidden()


def unsaved(admin):
    with browser() as chromium, opened(chromium, admin) as page:
        expect_state(page, "near", "healthy")
        lost = "It would not outlive a restart of the edge: state_dir"
        press(page, "near", "Drain").get_by_role("button", name="Drain").press("Enter")
        expect(page.locator("#drain-message")).to_contain_text(f"near is drained. {lost}")
        accessible(page, "a drain that is not saved")
        press(page, "near", "Force").get_by_role("button", name="Force").press("Enter")
        expect(page.locator("#drain-message")).to_contain_text(f"near is forced down. {lost}")
        page.get_by_role("button", name="Undo the drain of near").press("Enter")
        expect(page.locator("#drain-message")).to_contain_text(f"near is not drained any more. {lost}")


def weighted(admin):
    with browser() as chromium, opened(chromium, admin) as page:
        expect_state(page, "near", "healthy")
        expect_state(page, "far", "healthy")
        page.locator("#map-details summary").press("Enter")
        japan = page.locator('#map-rows [data-country="JP"]')
        expect(japan.locator("td").first).to_have_text("near 75 %, far 25 %")
        land = page.locator('#map-land [data-country="JP"]')
        expect(land.locator("title")).to_have_text("Japan: near 75 %, far 25 %")
        stripes = land.get_attribute("fill").removeprefix("url(").removesuffix(")")
        widths = page.locator(f"{stripes} rect").evaluate_all("all => all.map((one) => Number(one.getAttribute('width')))")
        assert widths == [30, 10], widths
        expect(page.locator("#map-legend")).to_contain_text("Stripes: each query is drawn anew, in these shares.")
        japan.get_by_role("button", name="Japan").press("Enter")
        for what in ["query", "request"]:
            expect(page.locator("#explanation")).to_contain_text(f"Each {what} is drawn anew: near 75 %, far 25 %. This is one draw.")
        accessible(page, "weighted")
        hosts = page.locator("#map-name option").all_text_contents()
        assert sorted(hosts) == ["www.example.com", "www2.example.com"], hosts
        serves_a_browser_that_keeps_nothing(page)


def serves_a_browser_that_keeps_nothing(page):
    """Whoever forbids sites to keep anything gets an exception for the mere look at what is kept."""
    page.add_init_script("""for (const name of ["localStorage", "sessionStorage"])
      Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } })""")
    page.reload()
    expect_state(page, "near", "healthy")
    theme = page.locator("#theme")
    theme.select_option("dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.evaluate("location.reload()")
    expect_state(page, "far", "healthy")


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
    dialog.get_by_role("button", name="Cancel").press("Enter")
    assert get(f"{admin}/api/v1/status")["drains"] == []
    forgets_an_answer_that_comes_late(page)


def forgets_an_answer_that_comes_late(page):
    held = []
    page.route("**/api/v1/drains/near?dry_run=true", lambda route: held.append(route))
    dialog = press(page, "near", "Drain")
    with page.expect_request("**/api/v1/drains/near?dry_run=true"):
        dialog.get_by_role("button", name="What would happen?").press("Enter")
    dialog.get_by_role("button", name="Cancel").press("Enter")
    press(page, "far", "Drain")
    with page.expect_response("**/api/v1/drains/near?dry_run=true") as answered:
        held[0].continue_()
    answered.value.finished()
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(dialog.get_by_role("status")).to_be_empty()
    dialog.get_by_role("button", name="Cancel").press("Enter")
    page.unroute("**/api/v1/drains/near?dry_run=true")


def leaves_and_comes_back_little_by_little(page):
    dialog = press(page, "near", "Drain")
    dialog.get_by_label("Over, such").fill("1m")
    dialog.get_by_role("button", name="Drain").press("Enter")
    expect_state(page, "near", "draining", SOON_MS)
    share = card(page, "near").locator(".share")
    expect(share).to_contain_text(re.compile(r"leaving little by little: takes [1-9]\d % of new clients"))
    expect(page.locator("#drains tr", has_text="near")).to_contain_text(re.compile(r"leaving little by little: takes [1-9]\d %"))
    accessible(page, "a gradual drain")
    undo = page.get_by_role("button", name="Undo the drain of near")
    undo.focus()
    progress = share.locator("progress")
    first = progress.get_attribute("value")
    expect(progress).not_to_have_attribute("value", first)
    assert int(progress.get_attribute("value")) < int(first), first
    # Whoever was about to press it still is.
    expect(undo).to_be_focused()
    page.keyboard.press("Enter")
    expect_state(page, "near", "healthy", SOON_MS)
    expect(share).to_contain_text(re.compile(r"coming back little by little: takes [1-9]\d % of new clients"))


def looks_ahead_at_a_guard(page, admin):
    press(page, "far", "Drain").get_by_role("button", name="Drain").press("Enter")
    expect_state(page, "far", "draining", SOON_MS)
    dialog = press(page, "near", "Drain")
    dialog.get_by_role("button", name="What would happen?").press("Enter")
    expect(dialog.locator(".alarm")).to_have_text("A guard would refuse the drain of near.")
    expect(dialog.get_by_role("status")).to_contain_text("left with no region: too few for its guards.min_regions, 1. "
        "Whoever moves goes to regions that are unhealthy, drained or leaving.")
    expect(dialog.get_by_role("status")).to_contain_text(re.compile(r"[\d.]+ % of IPv4 and [\d.]+ % of IPv6 stay: no other region"))
    dialog.get_by_role("button", name="Drain").press("Enter")
    expect(dialog.locator(".alarm")).to_contain_text("this would leave service `www` with 0 healthy region(s)")
    dialog.get_by_role("button", name="Cancel").press("Enter")
    assert [drain["region"] for drain in get(f"{admin}/api/v1/status")["drains"]] == ["far"]
    who_has_left_does_not_leave_little_by_little(page)
    shows_the_explanation_that_was_asked_for_last(page)


def who_has_left_does_not_leave_little_by_little(page):
    dialog = press(page, "far", "Drain")
    dialog.get_by_label("For, such").fill("1.5h")
    dialog.get_by_label("Over, such").fill("0.5h")
    dialog.get_by_role("button", name="What would happen?").press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text("The drain of far would be done. Nothing is changed yet.")
    dialog.get_by_role("button", name="Drain").press("Enter")
    # That message is the first drain's too; until the dialog has closed, nothing beside it hears keys.
    expect(dialog).to_be_hidden()
    expect(page.locator("#drain-message")).to_contain_text("far is drained. It would not")


def shows_the_explanation_that_was_asked_for_last(page):
    held = []
    slow = re.compile(r"/api/v1/explain\?.*client=203\.178\.141\.1")
    page.route(slow, lambda route: held.append(route))
    form, explanation = page.locator("#explain"), page.locator("#explanation")

    def ask(client):
        form.get_by_label("Client address").fill(client)
        form.get_by_role("button", name="Explain").press("Enter")

    ask("203.178.141.1")
    frames = 0
    while len(held) < 2:  # Each frame lets the page's requests be heard of.
        frames += 1
        assert frames < 1000, held
        page.evaluate("new Promise(requestAnimationFrame)")
    ask("193.0.6.1")
    expect(explanation).to_contain_text("193.0.6.1 asks for")
    for route in held:
        with page.expect_response(slow) as answered:
            route.continue_()
        answered.value.finished()
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(explanation).to_contain_text("193.0.6.1 asks for")
    page.unroute(slow)


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
        page.get_by_role("button", name="Reload").press("Enter")
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
        asks_on_for_a_region_that_a_reload_has_renamed(page, write, file.read_text())
        tells_what_is_wrong_with_the_edge(page)
        tells_operators_without_scripts(chromium, admin, page)


def asks_on_for_a_region_that_a_reload_has_renamed(page, write, text):
    """The filter of events says what the list goes by; and of two regions at one place each name is read."""
    asked = page.locator("#events-filter").get_by_label("Region")
    change(page, "PUT", "drains/far")
    told = page.locator("#events li").filter(has_text="region far is drained")
    expect(told).to_have_count(1)
    told.evaluate("line => { line.dataset.read = 'yes'; }")
    change(page, "DELETE", "drains/far")
    asked.select_option("far")
    write(text.replace("far: { location: [39, -77]", "away: { location: [50, 8]"))
    expect(page.locator("#config-state")).to_contain_text("Generation 3", timeout=15_000)
    expect(page.locator("[data-mark=away]")).to_be_visible()
    expect(asked).to_have_value("far")
    expect(told).to_have_count(1)
    # Whoever reads or has selected it is not disturbed by what comes behind it.
    expect(told).to_have_attribute("data-read", "yes")
    expect(page.locator("#events li").filter(has_text="configuration 3")).to_have_count(0)
    near, away = (page.locator(f"[data-mark={region}] text").bounding_box() for region in ("near", "away"))
    # The box of a line is higher than its letters.
    assert abs(near["y"] - away["y"]) > near["height"] / 2, (near, away)
    asked.select_option("")
    write(text)
    expect(page.locator("#config-state")).to_contain_text("Generation 4", timeout=15_000)
    expect(asked.locator("option")).to_have_text(["all regions", "near", "far"])


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
    dialog.get_by_role("button", name="Drain").press("Enter")
    expect(dialog.locator(".alarm")).to_contain_text("this token may see and not change: its role is read")
    dialog.get_by_role("button", name="Cancel").press("Enter")
    page.get_by_role("button", name="Reload").press("Enter")
    message = page.locator("#reload-message")
    expect(message).to_contain_text("this token may see and not change")
    page.get_by_role("button", name="Token …").press("Enter")
    show_token(page, reader)
    expect(message).to_be_empty()
    status = urllib.request.Request(f"{admin}/api/v1/status", headers={"Authorization": f"Bearer {reader}"})
    assert get(status)["drains"] == []


def stops_with_a_token_that_is_taken_away(page, admin, operator):
    dialog = page.locator("#token-dialog")
    expect(dialog).to_be_visible(timeout=15_000)
    expect(dialog.get_by_role("alert")).to_contain_text("the bearer token is not the right one")
    expect(page.locator("#link")).to_have_text("not live until a token is given")
    dialog.get_by_role("button", name="Cancel").press("Enter")
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
    page.get_by_role("button", name="Token …").press("Enter")


def flapping(admin):
    """A target is probed far more often than the page is told how the edge is: its strip has all of its probes."""
    both = """async () => {
        const [target] = (await (await fetch("api/v1/probes?region=near")).json()).targets;
        const failed = target.probes.filter((probe) => !probe.ok).length;
        return { checks: target.checks, told: `${target.probes.length} probes, ${failed} failed`, strip: document.querySelector(".strip figcaption").textContent };
    }"""
    with browser() as chromium, opened(chromium, admin) as page:
        expect(page.locator(".strip figcaption")).to_contain_text("probes")
        begun, deadline = page.evaluate(both)["checks"], time.monotonic() + 30
        while True:
            seen = page.evaluate(both)
            if seen["checks"] >= begun + 30 and seen["strip"].startswith(seen["told"]):
                break
            assert time.monotonic() < deadline, seen
        assert 10 < int(seen["told"].split()[2]), seen


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
        names = [f"s{number}" for number in range(4)] + [f"small{number}" for number in range(8)]
        for name in names:
            change(page, "PUT", "drains/r2", {"service": name})
        named = ", ".join(f"{name} draining" for name in names[:10])
        expect(card(page, "r2").locator("summary")).to_have_text(f"12 services: {named} and 2 more")
        dialog = press(page, "r29", "Drain")
        expect(dialog.get_by_label("Service").locator("option", has_text="small")).to_have_count(0)
        dialog.get_by_role("button", name="Cancel").press("Enter")
        page.set_viewport_size({"width": 320, "height": 640})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 320, f"scrolls sideways: {wide}"
        undo = page.locator("#drains td:last-child").first
        stays = undo.evaluate("cell => getComputedStyle(cell).position")
        assert stays == "static", f"the column hides others: {stays}"
        dialog = press(page, LONG, "Drain")
        inside, outside = dialog.evaluate("node => [node.scrollWidth, node.clientWidth]")
        assert inside <= outside, (inside, outside)


def hang(admin, pid):
    with browser() as chromium, opened(chromium, admin) as page:
        link, summary = page.locator("#link"), page.locator("#summary")
        expect(link).to_have_text("live")
        os.kill(pid, signal.SIGSTOP)
        try:
            expect(link).to_have_text("not live: nothing heard for 5 s; trying again", timeout=15_000)
            expect(summary).to_have_text("This is not up to date: nothing heard for 5 s", timeout=15_000)
        finally:
            os.kill(pid, signal.SIGCONT)
        expect(link).to_have_text("live", timeout=15_000)
        expect(summary).to_contain_text("regions healthy", timeout=15_000)


# Without a screen every tab is shown.
HIDE = """
window.hide = (hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
};
"""


def tabs(admin):
    with browser() as chromium:
        context = chromium.new_context()
        context.add_init_script(HIDE)
        pages = []
        for _ in range(8):
            page = context.new_page()
            page.goto(f"{admin}/")
            expect(page.locator("#link")).to_have_text("live")
            page.evaluate("hide(true)")
            expect(page.locator("#link")).to_contain_text("not live: nobody looks")
            pages.append(page)
        change(pages[-1], "PUT", "drains/near", {"reason": "while nobody looked"})
        pages[0].evaluate("hide(false)")
        expect(pages[0].locator("#link")).to_have_text("live")
        expect(pages[0].locator("#events")).to_contain_text("while nobody looked")
        expect_state(pages[0], "near", "draining", SOON_MS)
        context.close()


# The name of the lock that the windows share, and who holds it.
HELD = "navigator.locks.query().then(({ held }) => held.map(({ name }) => name))"
TAKE = "(name) => { navigator.locks.request(name, { steal: true }, () => new Promise(() => {})); }"


def windows(admin, reader, operator):
    """More windows at once than a browser has connections to an edge: one follows for all who show the same token."""
    with browser() as chromium:
        context = chromium.new_context()
        pages = [live_window(context, admin, reader) for _ in range(8)]
        of_operator = live_window(context, admin, operator)
        hears_of(pages + [of_operator], admin, operator, "one reads to all")
        assert len(of_operator.evaluate(HELD)) == 2, "one for each token"
        pages.pop(0).close()
        hears_of(pages, admin, operator, "another goes on")
        for page in pages:
            expect(page.locator("#link")).to_have_text("live")
        of_operator.close()
        silent = context.new_page()
        silent.goto(f"{admin}/dashboard/icon.svg")
        name, = silent.evaluate(HELD)
        silent.evaluate(TAKE, name)
        hears_of(pages, admin, operator, "who says nothing is not waited for")
        context.close()


def live_window(context, admin, token):
    page = context.new_page()
    page.goto(f"{admin}/")
    show_token(page, token)
    expect(page.locator("#link")).to_have_text("live")
    return page


def hears_of(pages, admin, operator, reason):
    drain = urllib.request.Request(f"{admin}/api/v1/drains/near", json.dumps({"reason": reason}).encode(), method="PUT", headers={
        "Authorization": f"Bearer {operator}", "Content-Type": "application/json"})
    get(drain)
    for page in pages:
        expect(page.locator("#events")).to_contain_text(reason, timeout=30_000)
