//! The store against a model: the lines of each stream, split by hand.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Print(Stream, Vec<u8>),
    Restart,
    SetClock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let byte = prop_oneof![4 => any::<u8>(), 2 => Just(b'\n'), 4 => Just(b'x')];
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    prop_oneof![
        30 => (stream, prop::collection::vec(byte, 1..40)).prop_map(|(s, b)| Step::Print(s, b)),
        1 => Just(Step::Restart),
        1 => (-5000_i64..5000).prop_map(Step::SetClock),
    ]
}

/// A line as the model has it: text, whether it is partial, the time of its first byte.
type ModelLine = (Vec<u8>, bool, SystemTime);

#[derive(Default)]
struct Model {
    done: [Vec<ModelLine>; 2],
    open: [Option<(Vec<u8>, SystemTime)>; 2],
}

impl Model {
    fn print(&mut self, stream: Stream, bytes: &[u8], at: SystemTime) {
        let slot = usize::from(stream == Stream::Stderr);
        for byte in bytes {
            let (text, _) = self.open[slot].get_or_insert_with(|| (Vec::new(), at));
            if *byte != b'\n' {
                text.push(*byte);
            } else if let Some((text, at)) = self.open[slot].take() {
                self.done[slot].push((text, false, at));
            }
        }
    }

    fn flush(&mut self) {
        for (done, open) in self.done.iter_mut().zip(&mut self.open) {
            done.extend(open.take().map(|(text, at)| (text, true, at)));
        }
    }
}

/// Plays the steps. The clock never moves by less than the index can tell apart.
fn play(steps: &[Step], policy: LogPolicy) -> (Agent, Model) {
    let mut agent = Agent::new(policy);
    let mut model = Model::default();
    let mut jumped = false;
    for step in steps {
        match step {
            Step::Print(stream, bytes) => {
                agent.print(*stream, bytes);
                model.print(*stream, bytes, agent.clock);
            }
            Step::Restart => {
                agent.restart();
                // The break is written with the next byte.
                jumped = true;
            }
            Step::SetClock(seconds) => {
                let by = Duration::from_secs(seconds.unsigned_abs());
                agent.clock = if *seconds < 0 {
                    agent.clock - by
                } else {
                    agent.clock + by
                };
            }
        }
        if jumped {
            model.flush();
            jumped = false;
        }
    }
    model.flush();
    (agent, model)
}

fn of_stream(lines: &[LogLine], stream: Stream) -> Vec<ModelLine> {
    let of = lines.iter().filter(|line| line.stream == stream);
    of.map(|line| (line.text.clone(), line.partial, line.at))
        .collect()
}

fn paged(reader: &LogReader, page_lines: usize) -> Vec<LogLine> {
    let mut cursor = Cursor::default();
    let mut lines = Vec::new();
    loop {
        let query = LogQuery {
            after: Some(cursor.clone()),
            ..LogQuery::default()
        };
        let limits = Limits {
            lines: page_lines,
            bytes: 1 << 20,
        };
        let page = reader.read(&query, limits).unwrap();
        lines.extend(page.items.into_iter().map(|item| match item {
            LogItem::Line(line) => line,
            LogItem::Gap(gap) => panic!("unexpected {gap:?}"),
        }));
        cursor = page.cursor.to_string().parse().unwrap();
        if page.end == PageEnd::LogEnd {
            assert!(!reader.changed_since(&cursor).unwrap());
            return lines;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_yields_the_lines_of_each_stream(
        steps in prop::collection::vec(step(), 0..80),
        max_size in 20_u64..2000,
        page_lines in 1_usize..20,
    ) {
        let (agent, model) = play(&steps, policy(max_size, 10_000));
        let lines = agent.lines(&LogQuery::default());
        prop_assert_eq!(of_stream(&lines, Stream::Stdout), model.done[0].clone());
        prop_assert_eq!(of_stream(&lines, Stream::Stderr), model.done[1].clone());
        prop_assert_eq!(of_stream(&lines, Stream::Supervisor), vec![]);
        prop_assert_eq!(paged(&agent.reader(), page_lines), lines);
    }

    #[test]
    fn a_follower_sees_what_a_later_reader_sees(
        steps in prop::collection::vec((step(), 0_usize..4), 0..60),
        max_size in 20_u64..2000,
    ) {
        let mut agent = Agent::new(policy(max_size, 10_000));
        let reader = agent.reader();
        let mut cursor = Cursor::default();
        let mut seen = Vec::new();
        for (step, lines) in steps {
            match step {
                Step::Print(stream, bytes) => agent.print(stream, bytes),
                Step::Restart => agent.restart(),
                Step::SetClock(_) => {}
            }
            if lines > 0 {
                let page = reader.read_after(&cursor, Limits { lines, bytes: 1 << 20 }).unwrap();
                seen.extend(page.items);
                cursor = page.cursor.to_string().parse().unwrap();
            }
        }
        let rest = LogQuery { after: Some(cursor), ..LogQuery::default() };
        seen.extend(reader.lines(&rest).unwrap().map(Result::unwrap));
        let all = reader.lines(&LogQuery::default()).unwrap().map(Result::unwrap);
        prop_assert_eq!(seen, all.collect::<Vec<_>>());
    }

    #[test]
    fn filters_by_time_and_stream_select_from_the_whole(
        steps in prop::collection::vec(step(), 1..80),
        max_size in 20_u64..2000,
        bounds in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        micros in 0_u64..2,
    ) {
        let (agent, _) = play(&steps, policy(max_size, 10_000));
        let all = agent.lines(&LogQuery::default());
        prop_assume!(!all.is_empty());
        let since = bounds.0.get(&all).at + Duration::from_micros(micros);
        let until = bounds.1.get(&all).at + Duration::from_micros(micros);
        let query = LogQuery {
            since: Some(since),
            until: Some(until),
            streams: StreamSet::only(Stream::Stdout),
            ..LogQuery::default()
        };
        let wanted = |line: &&LogLine| {
            line.at >= since && line.at < until && line.stream == Stream::Stdout
        };
        let expected: Vec<_> = all.iter().filter(wanted).cloned().collect();
        prop_assert_eq!(agent.lines(&query), expected);
    }

    #[test]
    fn tail_gives_so_many_lines_of_the_whole(
        steps in prop::collection::vec(step(), 0..80),
        max_size in 20_u64..2000,
        count in 0_usize..30,
    ) {
        let (agent, _) = play(&steps, policy(max_size, 10_000));
        let all = agent.lines(&LogQuery::default());
        let tail = agent.lines(&LogQuery { tail: Some(count), ..LogQuery::default() });
        prop_assert_eq!(tail.len(), count.min(all.len()));
        prop_assert!(tail.iter().all(|line| all.contains(line)));
    }
}
