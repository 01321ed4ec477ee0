//! The least of a browser: sends requests, keeps cookies, finds links and form tokens.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What a server answered.
pub struct Page {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Page {
    pub fn header(&self, wanted: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str())
    }

    /// Values of an attribute, unescaped.
    pub fn values(&self, attribute: &str) -> Vec<String> {
        let begin = format!(" {attribute}=\"");
        let rest = self.text.split(&begin).skip(1).filter_map(|rest| rest.split('"').next());
        rest.map(|value| value.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")).collect()
    }

    #[track_caller]
    pub fn has(&self, wanted: &str) -> &Page {
        assert!(self.text.contains(wanted), "`{wanted}` is not in:\n{}", self.text);
        self
    }

    #[track_caller]
    pub fn lacks(&self, unwanted: &str) -> &Page {
        assert!(!self.text.contains(unwanted), "`{unwanted}` is in:\n{}", self.text);
        self
    }
}

/// One browser.
pub struct Browser {
    server: SocketAddr,
    cookies: BTreeMap<String, String>,
    pub language: &'static str,
}

impl Browser {
    pub fn new(server: SocketAddr) -> Browser {
        Browser { server, cookies: BTreeMap::new(), language: "en" }
    }

    pub fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, &[], "")
    }

    /// Sends a form with the token of the page that it is on.
    pub fn submit(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.token(page);
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        self.post(path, &all, &[])
    }

    pub fn token(&mut self, page: &str) -> String {
        let page = self.get(page);
        let (_, rest) = page.text.split_once("name=\"form_token\" value=\"").expect("no form");
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    pub fn post(&mut self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.send("POST", path, &all, &body)
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Page {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.server);
        request.push_str(&format!("accept-language: {}\r\ncontent-length: {}\r\n", self.language, body.len()));
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request.push_str(&format!("cookie: {}\r\n", cookies.join("; ")));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        let mut stream = TcpStream::connect(self.server).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("no head") + 4;
        let (head, body) = (String::from_utf8_lossy(&answer[..end]).into_owned(), &answer[end..]);
        let is_chunked = head.contains("transfer-encoding: chunked\r\n");
        let body = if is_chunked { whole(body) } else { body.to_vec() };
        self.read(&head, &String::from_utf8_lossy(&body))
    }

    fn read(&mut self, head: &str, text: &str) -> Page {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<(String, String)> =
            lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect();
        for (_, cookie) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("no cookie");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Page { status: status.expect("no status"), headers, text: text.to_owned() }
    }

    /// Logs in as the first user.
    #[track_caller]
    pub fn log_in(&mut self, password: &str) {
        let page = self.submit("/login", "/login", &[("name", "admin"), ("password", password), ("next", "/topics")]);
        assert_eq!((page.status, page.header("location")), (303, Some("/topics")));
    }
}

/// What came in chunks (RFC 9112, 7.1).
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = chunks.windows(2).position(|window| window == b"\r\n").expect("the last chunk is missing");
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend(&chunks[line + 2..][..size]);
        chunks = &chunks[line + 2 + size + 2..];
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
