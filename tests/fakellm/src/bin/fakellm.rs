//! A provider of language models for tests and measurements in other languages.
//!
//! ```text
//! fakellm ADDRESS          prints its URL, and serves until it is ended
//! ```

use std::process::ExitCode;

use fakellm::FakeLlm;

#[tokio::main]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "whoever starts it reads its URL, or why there is none"
)]
async fn main() -> ExitCode {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:0").parse();
    let Ok(address) = address else {
        eprintln!("usage: fakellm ADDRESS, such as 127.0.0.1:4000");
        return ExitCode::from(2);
    };
    match FakeLlm::listen(address).await {
        Ok(fake) => {
            println!("{}", fake.url());
            std::future::pending().await
        }
        Err(error) => {
            eprintln!("{address} cannot be listened on: {error}");
            ExitCode::FAILURE
        }
    }
}
