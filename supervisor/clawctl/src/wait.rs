//! Waits for a condition that only another process can bring about.

use std::time::Duration;

/// How often the condition is looked at; a person does not notice this, a processor neither.
const PACE: Duration = Duration::from_millis(20);

/// Looks until `condition` holds or `limit` has passed, and says whether it holds.
pub(crate) async fn until(limit: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        if condition().await {
            return true;
        }
        if tokio::time::Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(PACE).await;
    }
}
