"""Pages in Debian's Chromium that include the beacon.

    beacon.py HTTPS   of an edge that serves every name of example.com and example.net
"""

import sys

from playwright.sync_api import sync_playwright

VIOLATION = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.effectiveDirective));
"""

MEASURED = ("https://near.example.com/ping", "https://far.example.com/ping")
REPORT = "https://www.example.com/.well-known/meridian/beacon?"


def visit(chromium, url):
    """What the page asked for once all is over, and what its policy forbade."""
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.add_init_script(VIOLATION)
    asked = []
    page.on("request", lambda request: asked.append(request))
    page.goto(url)
    return context, page, asked


def reports(chromium, url):
    context, page, asked = visit(chromium, url)
    with page.expect_event("requestfinished", lambda request: request.url.startswith(REPORT)) as reported:
        pass
    request = reported.value
    assert request.method == "POST" and request.post_data is None, request
    assert request.response().status == 204, request.response().status
    names = {pair.split("=")[0] for pair in request.url.removeprefix(REPORT).split("&")}
    assert names == {"near", "far"}, request.url
    for probe in MEASURED:
        timed = [sent for sent in asked if sent.url == probe]
        assert len(timed) == 2, (probe, len(timed))
        for sent in timed:
            headers = sent.all_headers()
            assert "cookie" not in headers and not headers.get("referer") and sent.method == "GET", headers
    assert page.evaluate("window.violations") == []
    context.close()


def is_forbidden(chromium, url):
    context, page, asked = visit(chromium, url)
    # The beacon begins a second after the page has loaded. (Waiting for a function would take eval, which is forbidden.)
    page.wait_for_event("console", lambda message: "connect-src" in message.text)
    assert "connect-src" in page.evaluate("window.violations")
    sent = [request.url for request in asked if request.url.startswith(REPORT)]
    assert sent == [], sent
    context.close()


def main(https):
    with sync_playwright() as playwright:
        everywhere = f"MAP *.example.com:443 {https},MAP *.example.net:443 {https}"
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--host-resolver-rules={everywhere}"],
        )
        reports(chromium, "https://www.example.com/")
        reports(chromium, "https://shop.example.net/")
        reports(chromium, "https://www.example.com/late")
        is_forbidden(chromium, "https://www.example.com/forbidden")
        chromium.close()
    print("all is well")


main(sys.argv[1])
