//! How events come in.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::event::{Attributes, Cause, Event, NewEvent, Publisher, Receipt, Stored};
use super::group::Overflow;
use super::row::{self, column};
use super::slot::first_64_bits;
use super::topic::{TopicError, check_topic, is_reserved};
use crate::store::{Core, StoreError, UnixMs};

/// What a publisher is told to wait when a group is full.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The longest id, source or key in bytes.
const NAME_BYTES: usize = 512;

/// What became of a batch.
pub(super) enum Publication {
    Stored(Vec<Receipt>),
    /// A group has no room and its policy is to wait.
    Full {
        back: Vec<NewEvent>,
        group: String,
        wait: Duration,
    },
}

/// Payload in bytes.
pub(super) fn weight(events: &[NewEvent]) -> usize {
    events.iter().map(|event| event.data.len() + 512).sum()
}

/// Stores a batch. Nothing is written before everything is checked.
pub(super) fn publish(
    core: &mut Core,
    events: Vec<NewEvent>,
    publisher: Publisher,
) -> Result<Publication, StoreError> {
    for event in &events {
        check(event, publisher, core.limits.max_bytes)?;
    }
    if let Some((group, policy)) = full_group(core, &events)? {
        return match policy {
            Overflow::Block(wait) => Ok(Publication::Full {
                back: events,
                group,
                wait,
            }),
            Overflow::Reject | Overflow::DropOldest => Err(StoreError::Backpressure {
                group,
                retry_after: RETRY_AFTER,
            }),
        };
    }
    take_rate(core, &events)?;
    let mut receipts = Vec::with_capacity(events.len());
    for event in events {
        receipts.push(store(core, event, publisher)?);
    }
    Ok(Publication::Stored(receipts))
}

fn check(event: &NewEvent, publisher: Publisher, limit: usize) -> Result<(), StoreError> {
    check_topic(&event.topic)?;
    if is_reserved(&event.topic) && publisher == Publisher::Outside {
        return Err(TopicError::Reserved(event.topic.clone()).into());
    }
    if event.data.len() > limit {
        return Err(StoreError::TooLarge {
            what: "an event",
            size: event.data.len(),
            limit,
        });
    }
    let key = event.key.as_deref().unwrap_or("-");
    for (what, name) in [
        ("id", event.id.as_str()),
        ("source", &event.source),
        ("key", key),
    ] {
        if name.is_empty() || name.len() > NAME_BYTES {
            let text = format!("the {what} of an event has 1 to {NAME_BYTES} bytes");
            return Err(StoreError::Invalid(text));
        }
    }
    Ok(())
}

fn full_group(
    core: &mut Core,
    events: &[NewEvent],
) -> Result<Option<(String, Overflow)>, StoreError> {
    if !core.bus.has_bounds() {
        return Ok(None);
    }
    let mut more = std::collections::BTreeMap::new();
    for new in events {
        let hash = identity(&new.source, &new.id);
        let known = core.bus.dedup.find(&core.conn, hash, core.now)?;
        if known.is_some() || new.delay.is_some() {
            continue;
        }
        let event = stored_form(new.clone(), 0, core.now);
        let before = more.entry(new.topic.clone()).or_insert(0);
        if let Some((group, policy)) = core.bus.too_full(&event, *before) {
            return Ok(Some((group.to_string(), policy)));
        }
        *before += 1;
    }
    Ok(None)
}

fn take_rate(core: &mut Core, events: &[NewEvent]) -> Result<(), StoreError> {
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for event in events {
        *counts.entry(&event.source).or_default() += 1;
    }
    for (source, count) in &counts {
        if let Some(retry_after) = core.bus.rates.refuses(source, *count, core.now) {
            return Err(StoreError::RateLimited {
                source_name: (*source).to_owned(),
                retry_after,
            });
        }
    }
    for (source, count) in counts {
        core.bus.rates.take(source, count);
    }
    Ok(())
}

/// Stores one checked event.
fn store(core: &mut Core, new: NewEvent, publisher: Publisher) -> Result<Receipt, StoreError> {
    if publisher == Publisher::SupervisorOnce && new.delay.is_none() {
        let seq = core.bus.next_seq();
        let event = stored_form(new, seq, core.now);
        append_once(core, event)?;
        return Ok(Receipt {
            seq: Some(seq),
            stored: Stored::New,
        });
    }
    let hash = identity(&new.source, &new.id);
    let delay = new.delay;
    let seq = if delay.is_some() {
        0
    } else {
        core.bus.next_seq()
    };
    if let Some(first) = duplicate(core, hash, &new)? {
        return Ok(Receipt {
            seq: (first != 0).then_some(first),
            stored: Stored::Duplicate,
        });
    }
    let event = stored_form(new, seq, core.now);
    match delay {
        Some(delay) => {
            let due = core.now.after(delay);
            insert_timer(core, &event, due)?;
            let until = core.now.after(core.limits.dedup_window);
            core.bus.dedup.write(&core.conn, (hash, 0, until))?;
            core.bus.next_timer = Some(core.bus.next_timer.map_or(due, |next| next.min(due)));
        }
        None => append(core, event, hash)?,
    }
    Ok(Receipt {
        seq: (seq != 0).then_some(seq),
        stored: Stored::New,
    })
}

/// Writes an event behind the others and keeps it for the groups.
pub(super) fn append(core: &mut Core, event: Event, hash: i64) -> Result<(), StoreError> {
    let (seq, until) = (event.seq, core.now.after(core.limits.dedup_window));
    append_once(core, event)?;
    core.bus.dedup.remember(hash, seq, until);
    Ok(())
}

/// The same, of an event that nobody publishes again.
fn append_once(core: &mut Core, event: Event) -> Result<(), StoreError> {
    let sql = "INSERT INTO event (seq, id, source, topic, key, at, expires, attrs, data)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    core.conn.prepare_cached(sql)?.execute(params![
        column(event.seq),
        event.id,
        event.source,
        event.topic,
        event.key,
        event.at.0,
        event.expires.map(|at| at.0),
        row::attributes(&event.attributes)?,
        event.data,
    ])?;
    core.bus.stage(Arc::new(event), &mut core.undo);
    Ok(())
}

fn insert_timer(core: &Core, event: &Event, due: UnixMs) -> Result<(), StoreError> {
    let sql = "INSERT INTO timer (due, id, source, topic, key, expires, attrs, data)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    core.conn.prepare_cached(sql)?.execute(params![
        due.0,
        event.id,
        event.source,
        event.topic,
        event.key,
        event.expires.map(|at| at.0),
        row::attributes(&event.attributes)?,
        event.data,
    ])?;
    Ok(())
}

/// The number of the event with this source and id, if there is one within the window; 0 while it
/// is delayed.
fn duplicate(core: &Core, hash: i64, new: &NewEvent) -> Result<Option<u64>, StoreError> {
    let Some(first) = core.bus.dedup.find(&core.conn, hash, core.now)? else {
        return Ok(None);
    };
    let sql = "SELECT source = ?2 AND id = ?3 FROM event WHERE seq = ?1";
    let same: Option<bool> = core
        .conn
        .prepare_cached(sql)?
        .query_row(params![column(first), new.source, new.id], |row| row.get(0))
        .optional()?;
    // Two events may share 64 bits by chance; the later one takes the place.
    Ok((same != Some(false)).then_some(first))
}

/// 64 bits that stand for a source and an id.
pub(super) fn identity(source: &str, id: &str) -> i64 {
    let named = format!("{source}\0{id}");
    i64::from_be_bytes(first_64_bits(named.as_bytes()).to_be_bytes())
}

fn stored_form(new: NewEvent, seq: u64, at: UnixMs) -> Event {
    let mut further = new.attributes;
    let mut attributes = Attributes::default();
    if let Some(cause) = new.cause {
        continue_trace(&mut further, &cause, &new.id);
        attributes.causation_id = Some(cause.causation_id);
        attributes.correlation_id = Some(cause.correlation_id);
        attributes.hop = cause.hop;
    }
    attributes.further = further;
    Event {
        seq,
        id: new.id,
        source: new.source,
        topic: new.topic,
        key: new.key,
        at,
        expires: new.expires,
        data: new.data,
        attributes,
    }
}

/// An event that names no trace of its own is a child of the one it follows from.
fn continue_trace(
    further: &mut std::collections::BTreeMap<String, String>,
    cause: &Cause,
    id: &str,
) {
    let parts = cause.trace_parent.as_deref().unwrap_or("").split('-');
    let parts: Vec<_> = parts.collect();
    if let [version, trace, _span, flags] = parts[..] {
        let span = first_64_bits(id.as_bytes()).max(1);
        let child = || format!("{version}-{trace}-{span:016x}-{flags}");
        further
            .entry("traceparent".to_owned())
            .or_insert_with(child);
    }
}
