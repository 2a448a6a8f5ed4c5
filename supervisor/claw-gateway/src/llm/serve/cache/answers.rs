//! The answers that are kept, bounded in bytes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashlink::LruCache;

use super::super::gateway::lock;
use super::super::settings::CacheSettings;
use super::answer::Answer;
use super::key::Key;

/// What an answer takes beside its body, in bytes: its headers, its key, and its place in the map.
const BESIDE: u64 = 1024;

/// The answers that are kept.
pub(in crate::llm::serve) struct Answers(Mutex<Kept>);

struct Kept {
    /// The least used is the first to leave.
    answers: LruCache<Key, Arc<Answer>>,
    size: u64,
    max_size: u64,
}

impl Answers {
    /// None yet, and never more than so many bytes of them.
    pub(in crate::llm::serve) fn new(max_size: u64) -> Self {
        Self(Mutex::new(Kept {
            answers: LruCache::new_unbounded(),
            size: 0,
            max_size,
        }))
    }

    /// Changes what they may take together; with nothing, none is kept.
    pub(in crate::llm::serve) fn resize(&self, max_size: u64) {
        let mut kept = lock(&self.0);
        kept.max_size = max_size;
        kept.shrink();
    }

    /// The longest answer that is kept, in bytes.
    pub(super) fn longest(&self) -> u64 {
        lock(&self.0).longest()
    }

    /// The answer of a key, unless it is too old.
    pub(super) fn get(&self, key: &Key, now: Duration, ttl: Duration) -> Option<Arc<Answer>> {
        let mut kept = lock(&self.0);
        let found = Arc::clone(kept.answers.get(key)?);
        if found.age(now) < ttl {
            return Some(found);
        }
        kept.remove(key);
        None
    }

    /// Keeps an answer, in the place of the one that had its key, and of those least used.
    pub(super) fn put(&self, key: Key, answer: Answer) {
        let mut kept = lock(&self.0);
        kept.remove(&key);
        if answer.length() > kept.longest() {
            return;
        }
        kept.size += answer.length() + BESIDE;
        kept.answers.insert(key, Arc::new(answer));
        kept.shrink();
    }
}

impl Kept {
    const fn longest(&self) -> u64 {
        (self.max_size / CacheSettings::ANSWERS).saturating_sub(BESIDE)
    }

    fn remove(&mut self, key: &Key) {
        if let Some(answer) = self.answers.remove(key) {
            self.size -= answer.length() + BESIDE;
        }
    }

    fn shrink(&mut self) {
        while self.size > self.max_size
            && let Some((_, answer)) = self.answers.remove_lru()
        {
            self.size -= answer.length() + BESIDE;
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::llm::wire::Api;

    const HOUR: Duration = Duration::from_secs(3600);
    const ROOM: u64 = 64 * 1024;

    fn answer(length: usize, came_at: Duration) -> Answer {
        let body = r#"{"data": [""#.len() + r#""]}"#.len();
        let body = format!(r#"{{"data": ["{}"]}}"#, "x".repeat(length - body));
        let answer = Answer::read(Api::Embeddings, &HeaderMap::new(), &body.into(), came_at);
        answer.expect("a whole answer")
    }

    fn is_there(answers: &Answers, key: u8) -> bool {
        answers.get(&Key::raw(key), Duration::ZERO, HOUR).is_some()
    }

    #[test]
    fn the_least_used_answers_leave_when_there_is_no_more_room() {
        let answers = Answers::new(ROOM);
        // Three thousand bytes with what is beside: twenty-one of them have room.
        let length = usize::try_from(3000 - BESIDE).expect("small");
        for key in 0..21 {
            answers.put(Key::raw(key), answer(length, Duration::ZERO));
        }
        assert!((0..21).all(|key| is_there(&answers, key)));
        assert!(is_there(&answers, 0), "used last");
        answers.put(Key::raw(21), answer(length, Duration::ZERO));
        assert!(is_there(&answers, 0) && is_there(&answers, 21));
        assert!(!is_there(&answers, 1));
        answers.put(Key::raw(21), answer(length, Duration::ZERO));
        assert!(is_there(&answers, 2), "an answer takes its own place");
        answers.resize(6000);
        let left = (0..=21).filter(|key| is_there(&answers, *key)).count();
        assert_eq!(left, 2);
        answers.resize(0);
        assert!((0..=21).all(|key| !is_there(&answers, key)));
    }

    #[test]
    fn no_answer_pushes_out_all_the_others() {
        let answers = Answers::new(ROOM);
        let most = usize::try_from(answers.longest()).expect("small");
        answers.put(Key::raw(1), answer(most, Duration::ZERO));
        assert!(is_there(&answers, 1));
        answers.put(Key::raw(1), answer(most + 1, Duration::ZERO));
        assert!(!is_there(&answers, 1), "what it was to replace is old");
    }

    #[test]
    fn an_answer_is_given_until_its_time_is_over() {
        let answers = Answers::new(ROOM);
        answers.put(Key::raw(1), answer(100, Duration::from_secs(10)));
        let at = |seconds| answers.get(&Key::raw(1), Duration::from_secs(seconds), HOUR);
        assert!(at(10).is_some() && at(3609).is_some());
        assert!(at(3610).is_none());
        assert!(at(10).is_none(), "it is gone");
    }
}
