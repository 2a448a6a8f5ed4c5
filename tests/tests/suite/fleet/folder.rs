//! Places: of the tree, of the programs under test, and free ports.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The root of the tree.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The program under test: `CLAWCTL`, or the one that was built beside these tests.
pub(crate) fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("CLAWCTL") {
        return PathBuf::from(named);
    }
    let beside = Path::new(env!("CARGO_BIN_EXE_test-agent")).with_file_name("clawctl");
    assert!(
        beside.exists(),
        "{} is missing: `cargo build -p clawctl` makes it",
        beside.display()
    );
    beside
}

/// A port of loopback that nobody listens on. Another process may take it before it is used;
/// the kernel hands out ports in turn, so that takes thousands of them in between.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
