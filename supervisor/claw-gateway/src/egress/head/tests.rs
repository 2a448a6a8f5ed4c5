use super::*;

fn proxied(text: &str) -> String {
    match to_proxy(text.as_bytes()) {
        Ok(Some(head)) => shown(head, text),
        Ok(None) => "incomplete".to_owned(),
        Err(error) => format!("{}: {error}", error.status()),
    }
}

fn captured(text: &str) -> String {
    match to_origin(text.as_bytes(), 80) {
        Ok(Some(head)) => shown(head, text),
        Ok(None) => "incomplete".to_owned(),
        Err(error) => format!("{}: {error}", error.status()),
    }
}

fn shown(head: Head, text: &str) -> String {
    let rest = &text[head.length..];
    match head.request {
        Request::Connect(Authority { host, port }) => format!("connect {host} {port} {rest:?}"),
        Request::Forward { authority, head } => {
            let Authority { host, port } = authority;
            format!("{host} {port} {}{rest}", String::from_utf8_lossy(&head))
        }
    }
}

#[test]
fn a_tunnel_is_asked_for_with_host_and_port() {
    for (text, expected) in [
        (
            "CONNECT Example.COM:443 HTTP/1.1\r\n\r\n",
            "connect example.com 443 \"\"",
        ),
        (
            "CONNECT example.com:443 HTTP/1.1\r\nHost: EXAMPLE.com\r\n\r\nrest",
            "connect example.com 443 \"rest\"",
        ),
        (
            "CONNECT [2001:DB8::1]:22 HTTP/1.0\r\n\r\n",
            "connect 2001:db8::1 22 \"\"",
        ),
        (
            "CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\n\r\n",
            "connect 10.0.0.1 443 \"\"",
        ),
        (
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r",
            "incomplete",
        ),
        ("", "incomplete"),
    ] {
        assert_eq!(proxied(text), expected, "{text:?}");
    }
}

#[test]
fn a_plain_request_goes_on_without_what_was_for_us() {
    assert_eq!(
        proxied(
            "GET http://Example.com?q=1 HTTP/1.1\r\nhost: example.com\r\nProxy-Connection: keep-alive\r\n\
             Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nProxy-Authorization: Basic eA==\r\n\
             X-Yours: 2\r\n\r\nbody"
        ),
        "example.com 80 GET /?q=1 HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\
         X-Yours: 2\r\n\r\nbody"
    );
    assert_eq!(
        proxied(
            "POST http://[2606::1]:8080/a HTTP/1.1\r\nHost: [2606::1]:8080\r\nContent-Length: 2\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi"
        ),
        "2606::1 8080 POST /a HTTP/1.1\r\nHost: [2606::1]:8080\r\nConnection: upgrade\r\n\
         Content-Length: 2\r\nUpgrade: websocket\r\n\r\nhi"
    );
    assert_eq!(
        captured("GET /?u=http://x/ HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        "example.com 80 GET /?u=http://x/ HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        captured("GET http://example.com/a HTTP/1.0\r\nHost: example.com:80\r\n\r\n"),
        "example.com 80 GET /a HTTP/1.0\r\nHost: example.com\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for text in [
        "CONNECT user@example.com:443 HTTP/1.1\r\n\r\n",
        "CONNECT user:pw@example.com:443 HTTP/1.1\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nhOST: example.com\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:80\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\nHost: example.com\n\n",
        "CONNECT example.com:443 HTTP/1.1\r\nX: a\rHost: evil.example\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nX: a\nHost: evil.example\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost : example.com\r\n\r\n",
        "CONNECT example.com:443%0d%0aHost:evil HTTP/1.1\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "CONNECT example.com:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "CONNECT example.com:0 HTTP/1.1\r\n\r\n",
        "CONNECT example.com:65536 HTTP/1.1\r\n\r\n",
        "CONNECT example.com:+443 HTTP/1.1\r\n\r\n",
        "CONNECT example.com: HTTP/1.1\r\n\r\n",
        "CONNECT example.com HTTP/1.1\r\n\r\n",
        "CONNECT :443 HTTP/1.1\r\n\r\n",
        "CONNECT ::1:443 HTTP/1.1\r\n\r\n",
        "CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\n\r\n",
        "CONNECT 0x7f.1:443 HTTP/1.1\r\n\r\n",
        "CONNECT 2130706433:443 HTTP/1.1\r\n\r\n",
        "CONNECT http://example.com:443/ HTTP/1.1\r\n\r\n",
        "CONNECT b\u{fc}cher.example:443 HTTP/1.1\r\n\r\n",
        "CONNECT example.com:443 HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET ftp://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET http://example.com/ HTTP/1.1\r\n\r\n",
        "GET http://example.com/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET http://example.com@evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET http://example.com:0/ HTTP/1.1\r\nHost: example.com:0\r\n\r\n",
        "GET http://example.com#a HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET http://example.com\\@evil.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: +1\r\n\r\n",
        "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: Content-Length\r\nContent-Length: 1\r\n\r\n",
        "\x16\x03\x01\x02\x00",
        "GET\0",
        "\n",
    ] {
        assert!(
            proxied(text).starts_with("400: "),
            "{text:?}: {}",
            proxied(text)
        );
    }
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "CONNECT http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ] {
        assert!(
            captured(text).starts_with("400: "),
            "{text:?}: {}",
            captured(text)
        );
    }
}

#[test]
fn a_head_is_bounded() {
    let long = format!("GET http://a.example/{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD));
    assert_eq!(proxied(&long), "431: the head of the request is too large");
    let fields = "X: 1\r\n".repeat(MAX_FIELDS + 1);
    let many = format!("GET http://a.example/ HTTP/1.1\r\n{fields}\r\n");
    assert_eq!(proxied(&many), "431: the head of the request is too large");
    assert_eq!(proxied(&"a".repeat(MAX_HEAD - 1)), "incomplete");
}
