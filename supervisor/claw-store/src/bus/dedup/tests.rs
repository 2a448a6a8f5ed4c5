//! The window against a plain list of what was published when.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SPAN: Duration = Duration::from_secs(10);
const MOST: usize = 40;

#[derive(Debug, Clone)]
enum Step {
    /// Publishes these, in one transaction that is committed.
    Publish(Vec<i64>),
    /// Publishes these, but the transaction is lost.
    Lose(Vec<i64>),
    Wait(u64),
    Sweep,
    /// The process dies, and the window is read back.
    Reopen,
    /// Retention removes the oldest events, whether they are old or not.
    Remove(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = || prop::collection::vec(1_i64..300, 1..30);
    let step = prop_oneof![
        8 => ids().prop_map(Step::Publish),
        2 => ids().prop_map(Step::Lose),
        3 => (1_u64..6_000).prop_map(Step::Wait),
        2 => Just(Step::Sweep),
        1 => Just(Step::Reopen),
        1 => (1_u64..40).prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 1..60)
}

/// A window with its file, and what it ought to know.
struct Both {
    conn: Connection,
    window: Window,
    now: UnixMs,
    next: Seq,
    first: Seq,
    model: HashMap<i64, (Seq, UnixMs)>,
}

impl Both {
    fn new() -> Self {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../store/schema/0001.sql"))
            .unwrap();
        let window = Window {
            most: MOST,
            ..Window::default()
        };
        Self {
            conn,
            window,
            now: UnixMs(1_000_000),
            next: 1,
            first: 1,
            model: HashMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(ids) => self.publish(&ids),
            Step::Lose(ids) => self.lose(&ids),
            Step::Wait(span) => {
                self.now = self.now.after(Duration::from_millis(span));
                self.window.committed(self.now);
            }
            Step::Sweep => self.window.sweep(&self.conn, 7, self.now).unwrap(),
            Step::Reopen => {
                self.window = Window::load(&self.conn, SPAN, self.now).unwrap();
                self.window.most = MOST;
            }
            Step::Remove(count) => self.remove(count),
        }
    }

    fn publish(&mut self, ids: &[i64]) {
        self.conn.execute_batch("BEGIN").unwrap();
        let added = self.add(ids);
        self.window
            .flush(&self.conn, added.len(), self.now)
            .unwrap();
        self.conn.execute_batch("COMMIT").unwrap();
        self.window.committed(self.now);
        assert!(self.window.ring.len() <= MOST, "memory is bounded");
        let until = self.now.after(SPAN);
        self.model
            .extend(added.into_iter().map(|(seq, id)| (hash(id), (seq, until))));
    }

    fn lose(&mut self, ids: &[i64]) {
        self.conn.execute_batch("BEGIN").unwrap();
        let added = self.add(ids);
        self.window
            .flush(&self.conn, added.len(), self.now)
            .unwrap();
        self.conn.execute_batch("ROLLBACK").unwrap();
        for (seq, _id) in added.iter().rev() {
            self.window.forget_newest(*seq);
        }
        self.window.lost();
        self.next -= added.len() as u64;
    }

    /// Those that are no duplicates.
    fn add(&mut self, ids: &[i64]) -> Vec<(Seq, i64)> {
        let mut added = Vec::new();
        for id in ids {
            let found = self.window.find(&self.conn, hash(*id), self.now).unwrap();
            if found.is_some() {
                continue;
            }
            let sql = "INSERT INTO event (seq, source, id, topic, at, data)
                VALUES (?1, 's', ?2, 't', ?3, x'')";
            let values = params![column(self.next), id.to_string(), self.now.0];
            self.conn.execute(sql, values).unwrap();
            self.window
                .remember(hash(*id), self.next, self.now.after(SPAN));
            added.push((self.next, *id));
            self.next += 1;
        }
        added
    }

    fn remove(&mut self, count: u64) {
        let to = (self.first + count).min(self.next);
        for (hash, (seq, until)) in &self.model {
            if (self.first..to).contains(seq) {
                self.window
                    .write(&self.conn, (*hash, *seq, *until))
                    .unwrap();
            }
        }
        let sql = "DELETE FROM event WHERE seq < ?1";
        self.conn.execute(sql, [column(to)]).unwrap();
        self.first = to;
    }

    fn check(&self) {
        for id in 1..300 {
            let wanted = self.model.get(&hash(id)).copied();
            let wanted = wanted.filter(|(_seq, until)| *until > self.now);
            let found = self.window.find(&self.conn, hash(id), self.now).unwrap();
            assert_eq!(found, wanted.map(|(seq, _until)| seq), "id {id}");
        }
    }
}

fn hash(id: i64) -> i64 {
    crate::bus::publish::identity("s", &id.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn it_knows_exactly_what_was_published_within_the_window(steps in steps()) {
        let mut both = Both::new();
        for step in steps {
            both.take(step);
            both.check();
        }
    }
}
