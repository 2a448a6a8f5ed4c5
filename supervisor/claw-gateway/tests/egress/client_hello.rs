//! The first message of TLS is read however it comes, and nothing else is taken for it.

use claw_gateway::egress::client_hello::{HelloError, HelloReader, MAX_HELLO, ServerName};
use claw_gateway::egress::policy::Host;

use crate::hello::{hello, records};

fn read(bytes: &[u8], step: usize) -> Result<Option<ServerName>, HelloError> {
    let mut reader = HelloReader::default();
    for part in bytes.chunks(step) {
        if let Some(name) = reader.push(part)? {
            return Ok(Some(name));
        }
    }
    assert_eq!(reader.into_bytes(), bytes);
    Ok(None)
}

#[test]
fn the_name_is_read_however_the_bytes_come() {
    let message = hello(&[b"API.example.com"]);
    let host = Host::parse("api.example.com").expect("a host");
    for size in [1, 7, 50, 16_000] {
        let bytes = records(&message, size);
        for step in [1, 5, 64, 100_000] {
            let name = ServerName::Named(host.clone());
            assert_eq!(read(&bytes, step), Ok(Some(name)), "{size} {step}");
        }
        assert_eq!(read(&bytes[..bytes.len() - 1], 64), Ok(None), "{size}");
    }
}

#[test]
fn a_client_may_name_no_host() {
    let bytes = records(&hello(&[]), 16_000);
    assert_eq!(read(&bytes, 64), Ok(Some(ServerName::Missing)));
}

#[test]
fn an_address_is_not_a_name() {
    for name in [b"127.0.0.1".as_slice(), b"0x7f.1", b"2130706433"] {
        let read = read(&records(&hello(&[name]), 16_000), 64);
        let refused = match &read {
            Ok(Some(ServerName::Named(_)) | None) => false,
            Ok(Some(ServerName::Missing)) | Err(_) => true,
        };
        assert!(refused, "{read:?}");
    }
}

#[test]
fn garbage_is_not_tls() {
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH\r\n".to_vec(),
        vec![0; 100],
        vec![22, 3, 1, 0, 4, 2, 0, 0, 0],
        vec![22, 9, 9, 0, 4, 1, 0, 0, 0],
        records(&hello(&[b"a b"]), 16_000),
        records(&hello(&[b"a.example", b"a.example"]), 16_000),
    ] {
        assert!(read(&bytes, 64).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn a_message_without_end_is_given_up() {
    let mut message = vec![1, 0, 0xff, 0xff];
    message.extend(vec![0; 60_000]);
    let bytes = records(&message, 1000);
    let mut reader = HelloReader::default();
    let taken = bytes
        .chunks(1000)
        .take_while(|part| matches!(reader.push(part), Ok(None)));
    assert!(taken.count() * 1000 <= MAX_HELLO);
}
