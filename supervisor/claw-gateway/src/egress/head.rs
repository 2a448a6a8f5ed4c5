//! The head of a request to the proxy, and what is sent on in its place.
//!
//! A head that two programs could read in two ways is refused: whoever stands behind us must not
//! see another request than the one that was judged.

use httparse::{EMPTY_HEADER, Header, Status};

use super::policy::{Host, HostError, Reason};

/// The most bytes of a head. Servers on the Internet take about as much.
pub const MAX_HEAD: usize = 8 * 1024;

/// The most header fields of a head.
const MAX_FIELDS: usize = 64;

/// The port of HTTP, where a Host field names none.
const HTTP: u16 = 80;

/// Headers between two neighbours, which are not sent on.
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
];

/// A host and a port that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

/// What a client asks of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A tunnel.
    Connect(Authority),
    /// One plain HTTP request.
    Forward {
        /// Where it goes.
        authority: Authority,
        /// The head to send there, with its empty line.
        head: Vec<u8>,
    },
}

/// A request, and how many bytes of the input were its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What is asked.
    pub request: Request,
    /// The length of the head in bytes; what follows is the body or the tunnel.
    pub length: usize,
}

/// Why a head is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is longer than [`MAX_HEAD`] or has too many fields.
    #[error("the head of the request is too large")]
    TooLarge,
    /// It is no request for us, or one that can be read in two ways.
    #[error("{0}")]
    Malformed(&'static str),
    /// What stands for the host is none.
    #[error("`{}` is not a host: {error}", text.escape_debug())]
    Host {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: HostError,
    },
}

impl HeadError {
    /// The status that tells the client.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 431,
            Self::Malformed(_) | Self::Host { .. } => 400,
        }
    }

    /// The host as it was written, where that is known, and the reason for the record.
    #[must_use]
    pub fn into_reason(self) -> (String, Reason) {
        match self {
            Self::TooLarge => {
                let reason = Reason::BadRequest("the head of the request is too large");
                (String::new(), reason)
            }
            Self::Malformed(problem) => (String::new(), Reason::BadRequest(problem)),
            Self::Host { text, error } => (text, Reason::BadHost(error)),
        }
    }
}

/// Reads a request to the proxy itself: CONNECT, or plain HTTP in absolute form. `None` means that
/// the head has not come whole.
///
/// # Errors
/// When the head is too large, or cannot be read in one way only.
pub fn to_proxy(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    with_head(bytes, |method, target, fields| {
        if method == "CONNECT" {
            return connect(target, fields).map(Request::Connect);
        }
        let Some((authority, path)) = absolute(target)? else {
            return Err(HeadError::Malformed(
                "this is a proxy: it takes CONNECT and `http://` requests",
            ));
        };
        fields.host_is(&authority)?;
        let head = fields.rewritten(method, &path, &authority)?;
        Ok(Request::Forward { authority, head })
    })
}

/// Reads a request to a web server, whose connection was captured on its way to `port`. `None`
/// means that the head has not come whole.
///
/// # Errors
/// When the head is too large, names no host, or cannot be read in one way only.
pub fn to_origin(bytes: &[u8], port: u16) -> Result<Option<Head>, HeadError> {
    with_head(bytes, |method, target, fields| {
        if method == "CONNECT" {
            return Err(HeadError::Malformed(
                "CONNECT belongs to the proxy's own port",
            ));
        }
        let authority = match fields.host {
            Some(host) => authority(host, Some(port))?,
            None => return Err(HeadError::Malformed("the request names no host")),
        };
        if authority.port != port {
            return Err(HeadError::Malformed(
                "the request names another port than its connection",
            ));
        }
        let path = match absolute(target)? {
            Some((other, _)) if other != authority => {
                return Err(HeadError::Malformed("the request names two hosts"));
            }
            Some((_, path)) => path,
            None => target.to_owned(),
        };
        let head = fields.rewritten(method, &path, &authority)?;
        Ok(Request::Forward { authority, head })
    })
}

/// The fields of a head that matter to us, each at most once.
struct Fields<'h> {
    all: &'h [Header<'h>],
    minor: u8,
    host: Option<&'h str>,
    connection: Vec<String>,
    upgrade: Upgrade,
}

enum Upgrade {
    None,
    Asked,
}

fn with_head(
    bytes: &[u8],
    read: impl FnOnce(&str, &str, &Fields<'_>) -> Result<Request, HeadError>,
) -> Result<Option<Head>, HeadError> {
    let Some(length) = end_of_head(bytes)? else {
        return Ok(None);
    };
    let mut headers = [EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(&bytes[..length]) {
        Ok(Status::Complete(end)) if end == length => {}
        Ok(_) => {
            return Err(HeadError::Malformed(
                "the head of the request has no one end",
            ));
        }
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(_detail_free) => return Err(HeadError::Malformed("this is not a request of HTTP/1")),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(HeadError::Malformed("this is not a request of HTTP/1"));
    };
    let fields = Fields::read(parsed.headers, minor)?;
    let request = read(method, target, &fields)?;
    Ok(Some(Head { request, length }))
}

/// Finds the empty line, and refuses lines that end in another way than with CR LF.
fn end_of_head(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    if bytes.first() == Some(&0x16) {
        return Err(HeadError::Malformed(
            "TLS was sent where HTTP is spoken: the proxy's URL begins with `http://`",
        ));
    }
    let seen = &bytes[..bytes.len().min(MAX_HEAD)];
    for (at, byte) in seen.iter().enumerate() {
        match byte {
            b'\n' if at == 0 || seen[at - 1] != b'\r' => {
                return Err(HeadError::Malformed("a line of the head ends without CR"));
            }
            b'\n' if seen[..at].ends_with(b"\r\n\r") => return Ok(Some(at + 1)),
            b'\r' if seen.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Err(HeadError::Malformed(
                    "a CR in the head is not the end of a line",
                ));
            }
            0 => return Err(HeadError::Malformed("the head of the request has a NUL")),
            _ => {}
        }
    }
    if bytes.len() >= MAX_HEAD {
        return Err(HeadError::TooLarge);
    }
    Ok(None)
}

impl<'h> Fields<'h> {
    fn read(all: &'h [Header<'h>], minor: u8) -> Result<Self, HeadError> {
        let host = match once(all, "host", "the request has two Host fields")? {
            Some(value) => Some(ascii(value)?),
            None => None,
        };
        let length = once(all, "content-length", "the request has two lengths")?;
        let coding = once(all, "transfer-encoding", "the request has two codings")?;
        if length.is_some() && coding.is_some() {
            return Err(HeadError::Malformed(
                "the request has a length and a coding",
            ));
        }
        if length.is_some_and(|value| value.is_empty() || !value.iter().all(u8::is_ascii_digit)) {
            return Err(HeadError::Malformed("the request's length is not a number"));
        }
        if coding.is_some_and(|value| !value.eq_ignore_ascii_case(b"chunked")) {
            return Err(HeadError::Malformed(
                "the request's coding is not `chunked`",
            ));
        }
        let mut connection = Vec::new();
        for header in all
            .iter()
            .filter(|h| h.name.eq_ignore_ascii_case("connection"))
        {
            let options = ascii(header.value)?.split(',');
            connection.extend(options.map(|option| option.trim().to_ascii_lowercase()));
        }
        let framing = |option: &String| {
            matches!(
                option.as_str(),
                "host" | "content-length" | "transfer-encoding"
            )
        };
        if connection.iter().any(framing) {
            return Err(HeadError::Malformed(
                "the Connection field drops what frames the request",
            ));
        }
        let asked = connection.iter().any(|option| option == "upgrade");
        let upgrade = if asked { Upgrade::Asked } else { Upgrade::None };
        Ok(Self {
            all,
            minor,
            host,
            connection,
            upgrade,
        })
    }

    /// Checks that the Host field, if there must be one or is one, names the same place as the
    /// target.
    fn host_is(&self, target: &Authority) -> Result<(), HeadError> {
        match self.host {
            Some(host) if authority(host, Some(HTTP))? == *target => Ok(()),
            Some(_) => Err(HeadError::Malformed("the request names two hosts")),
            None if self.minor == 0 => Ok(()),
            None => Err(HeadError::Malformed("the request has no Host field")),
        }
    }

    /// The head as it goes on: one request of one connection, so that a second one, for another
    /// host, is judged anew.
    fn rewritten(
        &self,
        method: &str,
        path: &str,
        authority: &Authority,
    ) -> Result<Vec<u8>, HeadError> {
        if !path.starts_with('/') && path != "*" {
            return Err(HeadError::Malformed(
                "the request's path does not begin with `/`",
            ));
        }
        let host = authority.text();
        let mut head = format!("{method} {path} HTTP/1.{}\r\nHost: {host}\r\n", self.minor);
        head.push_str(match self.upgrade {
            Upgrade::None => "Connection: close\r\n",
            Upgrade::Asked => "Connection: upgrade\r\n",
        });
        let mut head = head.into_bytes();
        for header in self.all {
            let name = header.name.to_ascii_lowercase();
            let named = name != "upgrade" && self.connection.contains(&name);
            if named || HOP_BY_HOP.contains(&name.as_str()) {
                continue;
            }
            head.extend_from_slice(header.name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(header.value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Ok(head)
    }
}

impl Authority {
    fn text(&self) -> String {
        let host = match &self.host {
            Host::Address(address) if address.is_ipv6() => format!("[{address}]"),
            host @ (Host::Address(_) | Host::Name(_)) => host.to_string(),
        };
        if self.port == HTTP {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

fn connect(target: &str, fields: &Fields<'_>) -> Result<Authority, HeadError> {
    let target = authority(target, None)?;
    let framed = ["content-length", "transfer-encoding"];
    if fields
        .all
        .iter()
        .any(|h| framed.iter().any(|name| h.name.eq_ignore_ascii_case(name)))
    {
        return Err(HeadError::Malformed("a CONNECT request has no body"));
    }
    // Old clients send no Host field here, and some leave the port out of it.
    match fields.host {
        Some(host) if authority(host, Some(target.port))? != target => {
            Err(HeadError::Malformed("the request names two hosts"))
        }
        Some(_) | None => Ok(target),
    }
}

/// Splits `http://authority/path`; `None` if the target is in another form.
fn absolute(target: &str) -> Result<Option<(Authority, String)>, HeadError> {
    let Some((scheme, rest)) = target.split_once("://") else {
        return Ok(None);
    };
    // A path may hold a URL.
    if scheme.starts_with('/') {
        return Ok(None);
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(HeadError::Malformed(
            "only `http://` is forwarded; `https://` takes CONNECT",
        ));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority_text, path) = rest.split_at(end);
    let authority = authority(authority_text, Some(HTTP))?;
    let path = match path.chars().next() {
        Some('/') => path.to_owned(),
        Some('?') => format!("/{path}"),
        None => "/".to_owned(),
        Some(_) => return Err(HeadError::Malformed("a fragment is not sent to a server")),
    };
    Ok(Some((authority, path)))
}

/// Reads `host[:port]`. Without a default the port must be there.
fn authority(text: &str, default_port: Option<u16>) -> Result<Authority, HeadError> {
    if text.contains('@') {
        return Err(HeadError::Malformed(
            "the request names a user before its host",
        ));
    }
    let colon = text.rfind(':').filter(|_| !text.ends_with(']'));
    let (host, port) = match (colon, default_port) {
        (Some(at), _) => (
            &text[..at],
            super::policy::port_number(&text[at + 1..]).map(u16::from),
        ),
        (None, default_port) => (text, default_port),
    };
    let Some(port) = port else {
        return Err(HeadError::Malformed(
            "the request names no port from 1 to 65535",
        ));
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(HeadError::Malformed("an IPv6 address stands in brackets"));
    }
    if !host.is_ascii() {
        return Err(HeadError::Malformed("the host is not in ASCII"));
    }
    match Host::parse(host) {
        Ok(host) => Ok(Authority { host, port }),
        Err(error) => {
            let text = host.to_owned();
            Err(HeadError::Host { text, error })
        }
    }
}

fn once<'h>(
    all: &'h [Header<'h>],
    name: &str,
    problem: &'static str,
) -> Result<Option<&'h [u8]>, HeadError> {
    let mut values = all.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (first, None) => Ok(first.map(|header| header.value)),
        (_, Some(_)) => Err(HeadError::Malformed(problem)),
    }
}

fn ascii(value: &[u8]) -> Result<&str, HeadError> {
    match std::str::from_utf8(value) {
        Ok(text) if text.is_ascii() => Ok(text),
        Ok(_) | Err(_) => Err(HeadError::Malformed("a field of the head is not in ASCII")),
    }
}

#[cfg(test)]
mod tests;
