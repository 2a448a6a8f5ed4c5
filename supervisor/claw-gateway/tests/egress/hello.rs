//! First messages of TLS, made by hand.

/// A ClientHello as an old client of TLS 1.2 sends it, with any number of server
/// names.
pub(crate) fn hello(names: &[&[u8]]) -> Vec<u8> {
    let mut extensions = vec![0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23];
    for name in names {
        let length = |extra: usize| {
            u16::try_from(name.len() + extra)
                .expect("short")
                .to_be_bytes()
        };
        extensions.extend([0, 0]);
        extensions.extend(length(5));
        extensions.extend(length(3));
        extensions.push(0);
        extensions.extend(length(0));
        extensions.extend(*name);
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend(
        u16::try_from(extensions.len())
            .expect("short")
            .to_be_bytes(),
    );
    body.extend(extensions);
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    let mut message = vec![1, length[1], length[2], length[3]];
    message.extend(body);
    message
}

/// The message in records of at most `size` bytes.
pub(crate) fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).expect("short").to_be_bytes();
        [&[22, 3, 1], length.as_slice(), part].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

/// The first message of a client that wants one host.
pub(crate) fn hello_for(name: &str) -> Vec<u8> {
    records(&hello(&[name.as_bytes()]), 16_000)
}
