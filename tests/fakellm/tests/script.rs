//! The provider as programs of other languages use it.

use fakellm::FakeLlm;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn post(fake: &FakeLlm, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(fake.address()).await.expect("connected");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn behaviours_come_by_http_and_the_bill_goes_by_it() {
    let fake = FakeLlm::start().await.expect("a provider");
    let script = r#"{"model": "m", "behaviours": [
        {"status": 429, "headers": [["retry-after", "3"]]},
        {"answer_tokens": 5, "prompt_tokens": 7, "ending": {"cut": {"after": 9}}},
        {"answer_tokens": 4, "report": {"told": {"prompt": 1, "answer": 2}}}
    ]}"#;
    let answer = post(&fake, "/_script", script).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let chat = r#"{"model": "m", "messages": [], "stream": true}"#;
    let refused = post(&fake, "/v1/chat/completions", chat).await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(refused.contains("retry-after: 3"), "{refused}");
    let streamed = post(&fake, "/v1/chat/completions", chat).await;
    assert!(
        streamed.contains("w4 ") && !streamed.contains("[DONE]"),
        "{streamed}"
    );
    for _ in 0..2 {
        let whole = post(&fake, "/v1/messages", r#"{"model": "m", "max_tokens": 3}"#).await;
        assert!(
            whole.contains("\"output_tokens\":2"),
            "the last behaviour stays: {whole}"
        );
    }
    let bill = post(&fake, "/_bill", "").await;
    let body = bill.split("\r\n\r\n").nth(1).expect("a body");
    let bill: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let tokens = |line: usize| {
        (
            bill[line]["prompt_tokens"].as_u64(),
            bill[line]["answer_tokens"].as_u64(),
        )
    };
    assert_eq!(tokens(0), (Some(0), Some(0)));
    assert_eq!(tokens(1), (Some(7), Some(5)));
    assert_eq!(bill[3]["answer_tokens"], 3);
}

#[tokio::test]
async fn a_behaviour_with_a_word_that_is_not_known_is_refused() {
    let fake = FakeLlm::start().await.expect("a provider");
    let script = r#"{"model": "m", "behaviours": [{"statuss": 500}]}"#;
    let answer = post(&fake, "/_script", script).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("statuss"), "{answer}");
}
