//! Reads `http1.txt`; what its words mean stands at its top.

const TEXT: &str = include_str!("http1.txt");

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Front {
    /// This status, and the end of the connection.
    Refused(u16),
    /// The origin sees it.
    Passes,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// The client gets a 502 instead.
    BadGateway,
    /// The client gets its head, and a body that does not end.
    Cut,
    /// The client gets it.
    Passes,
}

/// The method of the request that an answer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
}

/// One case of the corpus.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub rfc: String,
    /// The whole request, and what becomes of it.
    pub front: Option<(Vec<u8>, Front)>,
    /// The whole answer, and what becomes of it.
    pub back: Option<(Vec<u8>, Back)>,
    /// Method and target as the origin sees them.
    pub line: String,
    pub body: Vec<u8>,
    /// Fields that the other side sees, by lower-case name.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Fields that it does not.
    pub absent: Vec<String>,
    pub status: u16,
    pub asked: Method,
    /// Whether the connection to the origin is not used again.
    pub once: bool,
    /// Whether the origin closes its side behind the answer.
    pub closes: bool,
    /// Why a judge says otherwise: `front-nginx` and so on, and the reason.
    pub differs: Vec<(String, String)>,
}

impl Case {
    /// Why this judge says otherwise, if that is known.
    pub fn difference(&self, side: &str, judge: &str) -> Option<&str> {
        let key = format!("{side}-{judge}");
        let found = self.differs.iter().find(|(given, _)| *given == key);
        found.map(|(_, reason)| reason.as_str())
    }
}

/// Every case.
pub fn cases() -> Vec<Case> {
    TEXT.split("\n=== ").skip(1).map(read).collect()
}

fn read(text: &str) -> Case {
    let (name, rest) = text.split_once('\n').unwrap();
    let mut case = Case {
        name: name.to_owned(),
        rfc: String::new(),
        front: None,
        back: None,
        line: "POST /case".to_owned(),
        body: Vec::new(),
        fields: Vec::new(),
        absent: Vec::new(),
        status: 200,
        asked: Method::Get,
        once: false,
        closes: false,
        differs: Vec::new(),
    };
    let (mut message, mut kind) = (Vec::new(), "");
    for line in rest.lines().filter(|line| !line.is_empty()) {
        if let Some(line) = line.strip_prefix('>') {
            message.extend(message_line(line.strip_prefix(' ').unwrap_or(line)));
        } else if let Some(line) = line.strip_prefix("differs ") {
            let (judges, reason) = line.split_once(": ").unwrap();
            let judges = judges.split(' ');
            let judges = judges.map(|judge| (judge.to_owned(), reason.to_owned()));
            case.differs.extend(judges);
        } else {
            let (first, rest) = line.split_once("; ").unwrap();
            kind = first;
            rest.split("; ").for_each(|item| case.expect(item));
        }
    }
    case.finish(kind, &message);
    case
}

impl Case {
    /// Takes a word of what is expected.
    fn expect(&mut self, item: &str) {
        match item.split_once(' ').unwrap_or((item, "")) {
            ("RFC", section) => self.rfc = format!("RFC {section}"),
            ("front", "passes") => self.front = Some((Vec::new(), Front::Passes)),
            ("front", status) => {
                self.front = Some((Vec::new(), Front::Refused(status.parse().unwrap())));
            }
            ("back", "passes") => self.back = Some((Vec::new(), Back::Passes)),
            ("back", "502") => self.back = Some((Vec::new(), Back::BadGateway)),
            ("back", "cut") => self.back = Some((Vec::new(), Back::Cut)),
            ("line", line) => line.clone_into(&mut self.line),
            ("body", body) => self.body = unescape(body),
            ("field", field) => {
                let (name, value) = field.split_once('=').unwrap();
                self.fields.push((name.to_owned(), unescape(value)));
            }
            ("absent", name) => self.absent.push(name.to_owned()),
            ("status", status) => self.status = status.parse().unwrap(),
            ("asked", "HEAD") => self.asked = Method::Head,
            ("once", "") => self.once = true,
            ("closes", "") => self.closes = true,
            _ => panic!("{}: what is `{item}`?", self.name),
        }
    }

    /// Makes the messages of what the case has.
    fn finish(&mut self, kind: &str, message: &[u8]) {
        let (request, answer) = match kind {
            "shared" => (
                "POST /case HTTP/1.1\r\nHost: www.example.com\r\n",
                "HTTP/1.1 200 OK\r\n",
            ),
            "request" | "answer" => ("", ""),
            _ => panic!("{}: neither shared nor request nor answer", self.name),
        };
        let has_sides = (self.front.is_some(), self.back.is_some());
        assert_eq!(
            has_sides,
            (kind != "answer", kind != "request"),
            "{}: what becomes of it?",
            self.name
        );
        assert!(!self.rfc.is_empty(), "{}: by which RFC?", self.name);
        if let Some((bytes, _)) = &mut self.front {
            *bytes = [request.as_bytes(), message].concat();
        }
        if let Some((bytes, _)) = &mut self.back {
            *bytes = [answer.as_bytes(), message].concat();
        }
    }
}

fn message_line(line: &str) -> Vec<u8> {
    match line.strip_suffix("\\c") {
        Some(line) => unescape(line),
        None => [&unescape(line)[..], b"\r\n"].concat(),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    if let Some((before, rest)) = text.split_once('{') {
        let (repeated, after) = rest.split_once('}').unwrap();
        let (part, times) = repeated.rsplit_once('*').unwrap();
        let part = unescape(part).repeat(times.parse().unwrap());
        return [unescape(before), part, unescape(after)].concat();
    }
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().unwrap() {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            other => panic!("`\\{}` in `{text}`", char::from(other)),
        });
    }
    out
}
