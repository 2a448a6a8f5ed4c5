//! Which events go, oldest first.

use rusqlite::params;

use super::delivery::Gap;
use super::engine::{GroupId, stored_bytes};
use super::event::{Event, Seq};
use super::publish::identity;
use super::row::{self, column, number};
use crate::store::limits::{CHORE_ROWS, DONE_KEPT};
use crate::store::{Core, StoreError, UnixMs};

/// Whether retention may remove what a group has not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It waits for the group.
    No,
    /// It removes it, counts it, and the group is told of the gap.
    Yes,
}

/// What retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Events.
    pub events: u64,
    /// Of these, times that one was not settled by a group.
    pub unsettled: u64,
}

/// Removes some events.
pub(super) fn step(core: &mut Core, force: Force) -> Result<Removed, StoreError> {
    let bound = match force {
        Force::No => core.bus.lowest_floor(),
        Force::Yes => core.bus.head(),
    };
    let (last, count) = removable(core, bound)?;
    let Some(last) = last else {
        return Ok(Removed::default());
    };
    let unsettled = match force {
        Force::No => 0,
        Force::Yes => tear(core, last)?,
    };
    keep_ids(core, last)?;
    core.conn
        .prepare_cached("DELETE FROM event WHERE seq <= ?1")?
        .execute([column(last)])?;
    Ok(Removed {
        events: count,
        unsettled,
    })
}

/// The last of the oldest events that are too old or too much.
fn removable(core: &mut Core, bound: Seq) -> Result<(Option<Seq>, u64), StoreError> {
    let cutoff = core.now.before(core.limits.retention_age);
    let mut bytes = core.bus.bytes;
    let (mut last, mut count) = (None, 0);
    {
        let sql = "SELECT seq, at, length(data) FROM event WHERE seq <= ?1
            ORDER BY seq LIMIT ?2";
        let mut query = core.conn.prepare_cached(sql)?;
        let mut rows = query.query(params![column(bound), CHORE_ROWS])?;
        while let Some(row) = rows.next()? {
            let at = UnixMs(row.get(1)?);
            if at >= cutoff && bytes <= core.limits.retention_bytes {
                break;
            }
            let size = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            bytes = bytes.saturating_sub(stored_bytes(size));
            last = Some(number(row.get(0)?));
            count += 1;
        }
    }
    core.bus.bytes = bytes;
    Ok((last, count))
}

/// Writes down the ids of events that go before nobody may publish them again.
fn keep_ids(core: &mut Core, last: Seq) -> Result<(), StoreError> {
    let mut young = Vec::new();
    {
        let sql = "SELECT source, id, seq, at FROM event WHERE seq <= ?1 AND at > ?2";
        let since = core.now.before(core.limits.dedup_window);
        let mut query = core.conn.prepare_cached(sql)?;
        let mut rows = query.query([column(last), since.0])?;
        while let Some(row) = rows.next()? {
            let (source, id): (String, String) = (row.get(0)?, row.get(1)?);
            let until = UnixMs(row.get(3)?).after(core.limits.dedup_window);
            young.push((identity(&source, &id), number(row.get(2)?), until));
        }
    }
    young.sort_unstable();
    for id in young {
        core.bus.dedup.write(&core.conn, id)?;
    }
    Ok(())
}

/// Takes what is removed from the groups that have not settled it.
fn tear(core: &mut Core, last: Seq) -> Result<u64, StoreError> {
    let mut events: Vec<Event> = Vec::new();
    row::each_brief(&core.conn, 0, last, |event| events.push(event))?;
    let mut torn: Vec<(GroupId, Gap, Vec<Seq>)> = Vec::new();
    for (id, entry) in &core.bus.groups {
        let group = &entry.group;
        let behind = |event: &Event| {
            let counted = group.beyond > 0 && event.seq > group.cursor;
            group.open.contains_key(&event.seq) || (counted && group.config.takes(event))
        };
        let lost: Vec<Seq> = (events.iter().filter(|event| behind(event)))
            .map(|event| event.seq)
            .collect();
        if let (Some(from), Some(to)) = (lost.first().copied(), lost.last().copied()) {
            let gap = Gap {
                from,
                to,
                lost: lost.len() as u64,
            };
            torn.push((*id, gap, lost));
        }
    }
    let total = torn.iter().map(|(_, gap, _)| gap.lost).sum();
    core.then.push(Box::new(move |core| {
        for (id, gap, lost) in torn {
            if let Ok(entry) = core.bus.entry(id) {
                entry.group.lose(gap, &lost);
            }
            core.bus.touch(id);
        }
    }));
    Ok(total)
}

/// Small steps of everything that is kept for a while: events, answers, ids, orphaned groups.
pub(super) fn chores(core: &mut Core) -> Result<Left, StoreError> {
    let removed = step(core, Force::No)?;
    forget_answers(core)?;
    core.bus.dedup.sweep(&core.conn, CHORE_ROWS, core.now)?;
    drop_orphans(core)?;
    let full = removed.events >= u64::from(CHORE_ROWS);
    Ok(if full { Left::Something } else { Left::Nothing })
}

/// Whether chores have more to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Something,
    Nothing,
}

fn forget_answers(core: &Core) -> Result<(), StoreError> {
    let sql = "DELETE FROM done WHERE n <= (SELECT max(n) FROM
        (SELECT n, at FROM done ORDER BY n LIMIT ?2) WHERE at < ?1)";
    let cutoff = core.now.before(DONE_KEPT);
    core.conn
        .prepare_cached(sql)?
        .execute(params![cutoff.0, CHORE_ROWS])?;
    Ok(())
}

fn drop_orphans(core: &mut Core) -> Result<(), StoreError> {
    let cutoff = core.now.before(core.limits.orphan_retention);
    let over = |at: UnixMs| at <= cutoff;
    let groups = core.bus.groups.iter();
    let over: Vec<GroupId> = groups
        .filter(|(_id, entry)| entry.orphaned.is_some_and(over))
        .map(|(id, _entry)| *id)
        .collect();
    for id in over {
        super::control::remove_by_id(core, id)?;
    }
    Ok(())
}
