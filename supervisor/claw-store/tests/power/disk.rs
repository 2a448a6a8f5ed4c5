//! What a disk may hold after a power cut, built from a record of what was asked of it.

use std::fs;

use tempfile::TempDir;

use crate::worker::Acknowledged;

/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// Which syncs the disk obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    EverySync,
    /// Those of the database are answered and not done.
    SyncsOfTheLog,
}

/// The files after a cut, and what had been acknowledged before it.
pub(crate) struct Left {
    pub(crate) directory: TempDir,
    pub(crate) acknowledged: Vec<Acknowledged>,
}

/// Everything that was asked of the disk, in order.
pub(crate) struct Recording(Vec<Step>);

#[derive(Debug)]
enum Step {
    Write {
        file: Name,
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: Name,
        length: u64,
    },
    Sync(Name),
    Acknowledged(Acknowledged),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Database,
    Log,
}

impl Recording {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let (mut steps, mut left) = (Vec::new(), bytes);
        while let Some((head, rest)) = left.split_first_chunk::<14>() {
            let number = u64::from_ne_bytes(*head[2..].first_chunk().unwrap());
            let size = u32::from_ne_bytes(*head[10..].first_chunk().unwrap());
            let (bytes, rest) = rest.split_at(usize::try_from(size).unwrap());
            left = rest;
            let file = match head[1] {
                b'd' => Name::Database,
                b'w' => Name::Log,
                b'a' => {
                    let text = std::str::from_utf8(bytes).unwrap();
                    steps.extend(Acknowledged::read(text).map(Step::Acknowledged));
                    continue;
                }
                other => panic!("file {other}"),
            };
            steps.push(match head[0] {
                b'w' => Step::Write {
                    file,
                    offset: number,
                    bytes: bytes.to_vec(),
                },
                b't' => Step::Truncate {
                    file,
                    length: number,
                },
                b's' => Step::Sync(file),
                other => panic!("operation {other}"),
            });
        }
        Self(steps)
    }

    /// How often the log was begun anew after it had been moved to the database.
    pub(crate) fn beginnings_of_the_log(&self) -> usize {
        let is_one = |step: &&Step| match step {
            Step::Write { file, offset, .. } => *file == Name::Log && *offset == 0,
            Step::Truncate { .. } | Step::Sync(_) | Step::Acknowledged(_) => false,
        };
        self.0.iter().filter(is_one).count()
    }

    /// Cuts the power somewhere; a seed always cuts in the same place and leaves the same.
    pub(crate) fn cut(&self, seed: u64, trust: Trust) -> Left {
        let mut chance = Chance(seed);
        // The first steps make the file; a store that was never opened promises nothing.
        let first = self
            .0
            .iter()
            .position(|step| matches!(step, Step::Acknowledged(_)));
        let first = first.expect("something was acknowledged");
        let until = first + chance.below(self.0.len() - first);
        let steps = &self.0[..until];
        let directory = tempfile::tempdir().unwrap();
        for (file, name) in [(Name::Database, "store.db"), (Name::Log, "store.db-wal")] {
            let bytes = what_is_left(steps, file, trust, &mut chance);
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        let acknowledged = steps.iter().filter_map(|step| match step {
            Step::Acknowledged(one) => Some(*one),
            Step::Write { .. } | Step::Truncate { .. } | Step::Sync(_) => None,
        });
        Left {
            directory,
            acknowledged: acknowledged.collect(),
        }
    }
}

fn what_is_left(steps: &[Step], file: Name, trust: Trust, chance: &mut Chance) -> Vec<u8> {
    let obeyed = file == Name::Log || trust == Trust::EverySync;
    let synced = |step: &Step| matches!(step, Step::Sync(name) if *name == file);
    let safe = match steps.iter().rposition(synced) {
        Some(place) if obeyed => place,
        Some(_) | None => 0,
    };
    let mut bytes = Vec::new();
    // A whole cut in which nothing unsynced arrives is as likely as one in which all does.
    let arrives = [0, 30, 70, 100][chance.below(4)];
    for (place, step) in steps.iter().enumerate() {
        let there = place < safe || chance.below(100) < arrives;
        match step {
            Step::Write {
                file: of,
                offset,
                bytes: new,
            } if *of == file => {
                let offset = usize::try_from(*offset).unwrap();
                if there {
                    put(&mut bytes, offset, new);
                } else if chance.below(4) == 0 {
                    tear(&mut bytes, offset, new, chance);
                }
            }
            Step::Truncate { file: of, length } if *of == file && there => {
                bytes.resize(usize::try_from(*length).unwrap(), 0);
            }
            Step::Write { .. } | Step::Truncate { .. } | Step::Sync(_) | Step::Acknowledged(_) => {}
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

/// Some sectors arrive, others do not.
fn tear(bytes: &mut Vec<u8>, offset: usize, new: &[u8], chance: &mut Chance) {
    let mut at = 0;
    while at < new.len() {
        let end = new
            .len()
            .min((offset + at) / SECTOR * SECTOR + SECTOR - offset);
        if chance.below(2) == 0 {
            put(bytes, offset + at, &new[at..end]);
        }
        at = end;
    }
}

/// SplitMix64, so that a seed replays exactly.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % bound as u64).unwrap()
    }
}
