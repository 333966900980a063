//! The dashboard in a real browser: what is routed where and why, while it changes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::{Lab, run, wait_until};

/// A page in Chromium, driven over its debugging pipe: JSON messages that end in a zero byte.
struct Page {
    browser: Child,
    say: File,
    hear: BufReader<File>,
    session: Value,
    next: u64,
    /// What the page's scripts threw.
    thrown: Vec<Value>,
    _folder: tempfile::TempDir,
}

impl Page {
    fn open(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (say, hear) = (folder.path().join("say"), folder.path().join("hear"));
        run(Command::new("mkfifo").args([&say, &hear]));
        let program = format!(
            "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --user-data-dir={0}/profile --remote-debugging-pipe about:blank 3<{0}/say 4>{0}/hear",
            folder.path().display()
        );
        let browser = Command::new("sh")
            .args(["-c", &program])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut page = Self {
            browser,
            // Each waits for the browser's end of the pipe.
            say: File::options().write(true).open(&say).unwrap(),
            hear: BufReader::new(File::open(&hear).unwrap()),
            session: Value::Null,
            next: 0,
            thrown: Vec::new(),
            _folder: folder,
        };
        let target = page.call("Target.createTarget", json!({ "url": url }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        page.session = page.call("Target.attachToTarget", attach)["sessionId"].clone();
        page.call("Runtime.enable", json!({}));
        page
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if self.session.is_string() {
            message["sessionId"] = self.session.clone();
        }
        self.say
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let mut bytes = Vec::new();
            self.hear.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser has ended");
            let heard: Value = serde_json::from_slice(&bytes).unwrap();
            if heard["method"] == "Runtime.exceptionThrown" {
                self.thrown.push(heard["params"].clone());
            }
            if heard["id"] == self.next {
                assert!(heard["error"].is_null(), "{method}: {heard}");
                return heard["result"].clone();
            }
        }
    }

    /// The value of a JavaScript expression.
    fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", asked)["result"]["value"].clone()
    }

    #[track_caller]
    fn wait_for(&mut self, expression: &str) {
        assert!(
            wait_until(|| self.evaluate(expression) == true),
            "never: {expression}\n{}",
            self.evaluate("document.body.innerText")
                .as_str()
                .unwrap_or_default()
        );
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

/// Whether the card of a region shows this state.
fn shows(region: &str, state: &str) -> String {
    format!(
        "document.querySelector('[data-region=\"{region}\"] h3 .state')?.textContent === '{state}'"
    )
}

#[test]
fn it_shows_at_a_glance_what_is_routed_where_and_why() {
    let lab = Lab::start();
    let mut page = Page::open(&format!("http://{}/", lab.address("admin")));
    for region in ["us-east-1", "eu-west-1", "ap-northeast-1"] {
        page.wait_for(&shows(region, "healthy"));
    }
    let japan = "[...document.querySelectorAll('#decisions tr')].find((row) => row.textContent.includes('Japan'))";
    page.wait_for(&format!(
        "{japan}?.querySelector('button').textContent === 'ap-northeast-1'"
    ));
    page.evaluate(&format!("{japan}.querySelector('button').click()"));
    page.wait_for("document.querySelector('#explanation').textContent.includes('by round trip from the client')");

    lab.curl("/kv/hello", &["-X", "PUT", "-d", "world"]);
    page.wait_for("document.querySelector('#lag caption')?.textContent === 'www'");
    page.wait_for(
        "document.querySelector('#lag [data-lag-of=\"us-east-1\"]').textContent.includes('heard')",
    );

    lab.command("kill ap-northeast-1");
    page.wait_for(&shows("ap-northeast-1", "unhealthy"));
    page.wait_for("document.querySelector('#events').textContent.includes('Connection refused')");
    page.wait_for(&format!(
        "{japan}?.querySelector('button').textContent !== 'ap-northeast-1'"
    ));
    lab.command("restore ap-northeast-1");
    page.wait_for(&shows("ap-northeast-1", "healthy"));

    page.evaluate("document.querySelector('[data-region=\"us-east-1\"] button').click()");
    page.wait_for(&shows("us-east-1", "draining"));
    page.wait_for("document.querySelector('#drains').textContent.includes('us-east-1')");
    page.evaluate("document.querySelector('#drains button').click()");
    page.wait_for(&shows("us-east-1", "healthy"));
    assert_eq!(page.thrown, Vec::<Value>::new());
}
