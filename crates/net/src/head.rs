//! The head of an HTTP request: read within its limits, and judged by one pure function.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use syncline_protocol::{is_document_path, limits, percent};
use tokio::io::AsyncRead;
use tokio_tungstenite::tungstenite::handshake::server::{create_response, write_response};

use syncline_protocol::access::{Ask, Channel, Verb};

use crate::access::{Access, Presented};
use crate::entrance::{Entrance, Protection};
use crate::gate::{Gate, is_too_much};

const MAX_HEADERS: usize = 64;
const EXPLANATION: &str = "This is a Syncline hub: connect with `syncline join LINK`, or with a WebSocket to \
                           the content address that it printed.\n";

/// A request's head.
#[derive(Debug)]
pub(crate) struct Head {
    method: String,
    target: String,
    headers: HeaderMap,
}

/// Why a request is refused: a status and a line of text for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NoEntry {
    pub status: u16,
    pub text: &'static str,
}

const fn no_entry(status: u16, text: &'static str) -> NoEntry {
    NoEntry { status, text }
}

/// Why no head was read.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// It can be answered.
    Refused(NoEntry),
    /// It cannot: the connection is gone, or speaks something else (TLS).
    Gone,
}

/// What a request asks for.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Route {
    /// Hub to hub.
    Replica,
    /// Whole texts, with a hello.
    Content,
    /// What changed, both ways.
    Diffsync,
    /// Whole texts, let in by the address.
    Admitted {
        /// The part of it that is a secret.
        capability: String,
        /// Which document.
        document: Option<String>,
    },
}

impl Route {
    /// What is spoken there.
    pub fn channel(&self) -> Channel {
        match self {
            Route::Replica => Channel::Replica,
            Route::Content | Route::Admitted { .. } => Channel::Content,
            Route::Diffsync => Channel::Diffsync,
        }
    }
}

/// Reads a head and not a byte more.
pub(crate) async fn read_head<S: AsyncRead + Unpin>(gate: &mut Gate<S>) -> Result<Head, HeadError> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head: Vec<u8> = Vec::new();
    loop {
        match poll_fn(|cx| gate.poll_fill(cx)).await {
            Ok(()) => {}
            Err(error) if is_too_much(&error) => return Err(HeadError::Refused(too_long())),
            Err(_) => return Err(HeadError::Gone),
        }
        let new = gate.buffered();
        // A TLS handshake begins with 0x16, which no HTTP request does.
        if new.is_empty() || (head.is_empty() && new.first() == Some(&0x16)) {
            return Err(HeadError::Gone);
        }
        // The end may lie across two reads.
        let from = head.len().saturating_sub(END.len() - 1);
        let before = head.len();
        head.extend_from_slice(new);
        let found = head.get(from..).and_then(|tail| tail.windows(END.len()).position(|four| four == END));
        if let Some(at) = found {
            let end = from + at + END.len();
            gate.consume(end - before);
            head.truncate(end);
            return parse(&head).map_err(HeadError::Refused);
        }
        let count = head.len() - before;
        gate.consume(count);
        if head.len() > limits::MAX_BEFORE_HELLO {
            return Err(HeadError::Refused(too_long()));
        }
    }
}

fn too_long() -> NoEntry {
    no_entry(431, "The head of the request is longer than 16 KiB.\n")
}

fn parse(bytes: &[u8]) -> Result<Head, NoEntry> {
    let bad = no_entry(400, "This is not an HTTP request.\n");
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(no_entry(431, "Too many headers.\n")),
        _ => return Err(bad),
    }
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return Err(bad);
    };
    let mut map = HeaderMap::new();
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| bad.clone())?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| bad.clone())?;
        map.append(name, value);
    }
    Ok(Head { method: method.to_owned(), target: target.to_owned(), headers: map })
}

impl Head {
    /// The bytes of the answer that makes a WebSocket of the connection.
    pub fn upgrade(&self) -> Result<Vec<u8>, NoEntry> {
        let no_websocket = no_entry(426, EXPLANATION);
        let mut request = http::Request::new(());
        *request.headers_mut() = self.headers.clone();
        let response = create_response(&request).map_err(|_| no_websocket.clone())?;
        let mut bytes = Vec::new();
        write_response(&mut bytes, &response).map_err(|_| no_websocket)?;
        Ok(bytes)
    }

    fn only(&self, name: HeaderName) -> Result<Option<&str>, NoEntry> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str()).transpose();
        match (first, values.next()) {
            (Ok(first), None) => Ok(first),
            _ => Err(no_entry(400, "A header that may come once came twice, or is not text.\n")),
        }
    }
}

/// What a request asks for, or why it gets nothing. The order matters: who comes from a wrong place is told
/// nothing about addresses.
pub(crate) fn route(head: &Head, entrance: &Entrance) -> Result<Route, NoEntry> {
    let access = &entrance.access;
    if head.method != "GET" {
        return Err(no_entry(405, EXPLANATION));
    }
    let host = head.only(HOST)?.ok_or(no_entry(400, "The request names no Host.\n"))?;
    if !is_own_host(host, access) {
        return Err(no_entry(403, "This hub is not known by that Host; use its address or localhost.\n"));
    }
    if let Some(origin) = head.only(ORIGIN)?
        && !is_same_origin(origin, host, entrance.protection())
    {
        return Err(no_entry(403, "Pages of other sites may not connect to this hub.\n"));
    }
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    if has_secret(query) {
        return Err(no_entry(
            400,
            "A token in the address would be logged: send {\"type\":\"hello\",\"token\":…} as the first message.\n",
        ));
    }
    let unknown = no_entry(404, "There is nothing at this address.\n");
    match path {
        "/replica" => Ok(Route::Replica),
        "/content" | "/content/" => Ok(Route::Content),
        "/diffsync" => Ok(Route::Diffsync),
        "/" => Err(no_entry(404, EXPLANATION)),
        _ => {
            let rest = path.strip_prefix("/content/").ok_or(unknown.clone())?;
            let (capability, document) = rest.split_once('/').unwrap_or((rest, ""));
            let key = access.key_of(Presented::Capability(capability));
            let ask = Ask { channel: Channel::Content, verb: Verb::Connect, document: None };
            access.decide(key, ask).map_err(|_| unknown.clone())?;
            let document = match document {
                "" => None,
                encoded => Some(document_path(encoded).ok_or(unknown)?),
            };
            Ok(Route::Admitted { capability: capability.to_owned(), document })
        }
    }
}

/// Whether the Host is an address, this machine, or a name that was given. A name that somebody else's DNS
/// makes point here is none of these.
fn is_own_host(host: &str, access: &Access) -> bool {
    let name = host_name(host);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || access.knows_host(name)
}

/// Without the port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => {
            // An IPv6 address without brackets is no Host.
            if name.contains(':') && !name.starts_with('[') { "" } else { name }
        }
        _ => host,
    }
}

/// Whether a page comes from this very hub.
fn is_same_origin(origin: &str, host: &str, protection: Protection) -> bool {
    let (scheme, port) =
        if protection == Protection::Tls { ("https://", ":443") } else { ("http://", ":80") };
    let place = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    origin.strip_prefix(scheme).is_some_and(|origin| place(origin) == place(host))
}

fn has_secret(query: &str) -> bool {
    let names = ["token", "k", "key", "capability", "access_token", "auth", "secret"];
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        names.iter().any(|secret| name.eq_ignore_ascii_case(secret))
    })
}

/// The path of a document from the address. The hub checks it against its folder once more.
fn document_path(encoded: &str) -> Option<String> {
    percent::decode(encoded).filter(|path| is_document_path(path))
}

/// The whole answer to a request that is refused.
pub(crate) fn refusal_bytes(no: &NoEntry) -> Vec<u8> {
    let status = http::StatusCode::from_u16(no.status).unwrap_or(http::StatusCode::BAD_REQUEST);
    let reason = status.canonical_reason().unwrap_or("Refused");
    let extra = match no.status {
        426 => "Upgrade: websocket\r\n",
        503 => "Retry-After: 1\r\n",
        _ => "",
    };
    let (number, text) = (no.status, no.text);
    format!(
        "HTTP/1.1 {number} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         {extra}Connection: close\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

/// The answer when there is no place left.
pub(crate) const FULL: NoEntry = no_entry(503, "Too many connections; try again.\n");

/// The answer when the head did not come in time.
pub(crate) const SLOW: NoEntry = no_entry(408, "The request took too long.\n");

/// The answer to who speaks plainly where TLS is spoken.
pub(crate) const PLAIN: NoEntry =
    no_entry(400, "This hub speaks TLS: use wss://, or a link that contains &fp=.\n");

/// An error of a stream that is gone, as the reason of a closed connection.
pub(crate) fn gone(error: &io::Error) -> String {
    format!("the connection broke: {error}")
}

#[cfg(test)]
mod tests {
    use syncline_protocol::Token;

    use super::*;

    fn access() -> Access {
        let (token, capability) = (Token::from_random([1; 32]), Token::from_random([2; 32]));
        Access::new(token, capability).with_host_names(vec!["Notes.Example".into()])
    }

    fn ask(target: &str, headers: &str) -> Result<Route, u16> {
        let text = format!("GET {target} HTTP/1.1\r\n{headers}\r\n");
        let head = parse(text.as_bytes()).map_err(|no| no.status)?;
        route(&head, &access().into()).map_err(|no| no.status)
    }

    #[test]
    fn addresses_lead_where_they_should() {
        let host = "Host: 127.0.0.1:7000\r\n";
        let capability = Token::from_random([2; 32]).secret();
        assert_eq!(ask("/replica", host), Ok(Route::Replica));
        assert_eq!(ask("/content", host), Ok(Route::Content));
        assert_eq!(ask("/diffsync", host), Ok(Route::Diffsync));
        let admitted = |document: Option<&str>| {
            let document = document.map(str::to_owned);
            Ok(Route::Admitted { capability: capability.clone(), document })
        };
        assert_eq!(ask(&format!("/content/{capability}"), host), admitted(None));
        assert_eq!(
            ask(&format!("/content/{capability}/a/b%20%C3%A4.txt"), host),
            admitted(Some("a/b ä.txt"))
        );
        let token = Token::from_random([1; 32]).secret();
        for wrong in ["/", "/x", "/replica/", "/content/x", &format!("/content/{token}"), "http://a/replica"]
        {
            assert_eq!(ask(wrong, host), Err(404), "{wrong}");
        }
        for path in ["../x", "..%2fx", "a/../b", "a//b", "%00", "a%0ab", "a\\b", "%ff", "%4", "./a"] {
            assert_eq!(ask(&format!("/content/{capability}/{path}"), host), Err(404), "{path}");
        }
    }

    #[test]
    fn other_sites_and_rebound_names_are_refused() {
        let cases = [
            ("Host: localhost:1\r\n", Ok(Route::Replica)),
            ("Host: [::1]:1\r\n", Ok(Route::Replica)),
            ("Host: notes.example\r\n", Ok(Route::Replica)),
            ("", Err(400)),
            ("Host: a\r\nHost: b\r\n", Err(400)),
            ("Host: evil.example\r\n", Err(403)),
            ("Host: 127.0.0.1.evil.example\r\n", Err(403)),
            ("Host: localhost.evil.example:1\r\n", Err(403)),
            ("Host: 127.0.0.1:1\r\nOrigin: http://127.0.0.1:1\r\n", Ok(Route::Replica)),
            ("Host: localhost\r\nOrigin: http://localhost:80\r\n", Ok(Route::Replica)),
            ("Host: 127.0.0.1:1\r\nOrigin: http://127.0.0.1:2\r\n", Err(403)),
            ("Host: 127.0.0.1:1\r\nOrigin: https://127.0.0.1:1\r\n", Err(403)),
            ("Host: 127.0.0.1:1\r\nOrigin: http://evil.example\r\n", Err(403)),
            ("Host: 127.0.0.1:1\r\nOrigin: null\r\n", Err(403)),
            ("Host: 127.0.0.1:1\r\nOrigin: http://127.0.0.1:1\r\nOrigin: null\r\n", Err(400)),
        ];
        for (headers, expected) in cases {
            assert_eq!(ask("/replica", headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn over_tls_a_page_of_this_hub_is_one_that_came_over_tls() {
        let own = |origin, protection| is_same_origin(origin, "notes.example", protection);
        for (origin, tls, plain) in [
            ("https://notes.example", true, false),
            ("https://Notes.Example:443", true, false),
            ("http://notes.example", false, true),
            ("http://notes.example:443", false, false),
            ("https://notes.example:8443", false, false),
            ("https://evil.example", false, false),
            ("null", false, false),
        ] {
            assert_eq!(own(origin, Protection::Tls), tls, "{origin}");
            assert_eq!(own(origin, Protection::None), plain, "{origin}");
            assert_eq!(own(origin, Protection::Waived), plain, "{origin}");
        }
    }

    #[test]
    fn a_secret_in_the_query_is_refused_with_a_hint() {
        let host = "Host: localhost\r\n";
        for query in ["token=x", "a=b&k=x", "KEY=", "capability"] {
            assert_eq!(ask(&format!("/replica?{query}"), host), Err(400), "{query}");
        }
        assert_eq!(ask("/replica?version=1", host), Ok(Route::Replica));
    }

    #[tokio::test]
    async fn a_head_is_read_to_its_end_and_no_further() {
        let request = b"GET /replica HTTP/1.1\r\nHost: localhost\r\n\r\nrest";
        let mut gate = Gate::new(&request[..], 1 << 20);
        let head = read_head(&mut gate).await.unwrap();
        assert_eq!(route(&head, &access().into()), Ok(Route::Replica));
        assert_eq!(gate.buffered(), b"rest");
        assert_eq!(head.upgrade().unwrap_err().status, 426);
    }

    #[tokio::test]
    async fn what_is_no_head_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(32 << 10));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
        let cases: [(&[u8], Option<u16>); 7] = [
            (long.as_bytes(), Some(431)),
            (many.as_bytes(), Some(431)),
            (b"hello\r\n\r\n", Some(400)),
            (b"GET / HTTP/1.0\r\n\r\n", Some(400)),
            (b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", Some(400)),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", None),
            (b"GET / HTTP/1.1\r\n", None),
        ];
        for (bytes, status) in cases {
            let mut gate = Gate::new(bytes, limits::MAX_BEFORE_HELLO as u64);
            let error = read_head(&mut gate).await.unwrap_err();
            let found = match error {
                HeadError::Refused(no) => Some(no.status),
                HeadError::Gone => None,
            };
            assert_eq!(found, status);
        }
    }
}
