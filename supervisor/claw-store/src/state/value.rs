//! Values as they are stored: hashed, compressed, and cut by content when they are big.

use std::sync::Arc;

use fastcdc::v2020::FastCDC;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::cache::Cache;
use crate::store::{Core, StoreError};

/// From this size on a value is cut into chunks.
pub(super) const CHUNKED_FROM: usize = 64 * 1024;

/// From this size on compression is tried.
const COMPRESSED_FROM: usize = 256;

/// Chunks are cut between these sizes, around the middle one.
const CHUNK_BYTES: (usize, usize, usize) = (4 * 1024, 16 * 1024, 64 * 1024);

/// zstd's own default: beyond it time grows faster than ratio on JSON.
const ZSTD_LEVEL: i32 = 3;

/// No value is larger; SQLite could hold it, memory should not.
pub(super) const VALUE_BYTES: usize = 256 * 1024 * 1024;

pub(super) type Hash = [u8; 32];

const RAW: i64 = 0;
const ZSTD: i64 = 1;
const LIST: i64 = 2;

/// A value on its way to the writer.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(super) hash: Hash,
    pub(super) bytes: Arc<[u8]>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Whole(i64, Vec<u8>),
    Chunks(Vec<Chunk>),
}

#[derive(Debug, Clone)]
struct Chunk {
    hash: Hash,
    from: usize,
    to: usize,
    /// Nothing where the chunk was stored before, as far as anybody remembers.
    packed: Option<(i64, Vec<u8>)>,
}

impl Prepared {
    pub(super) fn new(bytes: Vec<u8>, known: &Cache) -> Result<Self, StoreError> {
        if bytes.len() > VALUE_BYTES {
            return Err(StoreError::TooLarge {
                what: "a value",
                size: bytes.len(),
                limit: VALUE_BYTES,
            });
        }
        let bytes: Arc<[u8]> = bytes.into();
        if bytes.len() < CHUNKED_FROM {
            return Ok(Self {
                hash: Sha256::digest(&bytes).into(),
                body: whole(&bytes)?,
                bytes,
            });
        }
        let (min, aim, max) = CHUNK_BYTES;
        let mut chunks = Vec::new();
        let mut list = Sha256::new_with_prefix(b"list");
        for cut in FastCDC::new(&bytes, min, aim, max) {
            let (from, to) = (cut.offset, cut.offset + cut.length);
            let hash: Hash = Sha256::digest(&bytes[from..to]).into();
            list.update(hash);
            let packed = match known.knows_chunk(&hash) {
                true => None,
                false => Some(pack(&bytes[from..to])?),
            };
            chunks.push(Chunk {
                hash,
                from,
                to,
                packed,
            });
        }
        Ok(Self {
            hash: list.finalize().into(),
            body: Body::Chunks(chunks),
            bytes,
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What is written of it at most.
    pub(super) fn weight(&self) -> usize {
        match &self.body {
            Body::Whole(_, data) => data.len(),
            Body::Chunks(chunks) => {
                let packed =
                    |chunk: &Chunk| chunk.packed.as_ref().map_or(0, |(_, data)| data.len());
                chunks.iter().map(packed).sum()
            }
        }
    }
}

fn whole(bytes: &[u8]) -> Result<Body, StoreError> {
    let (enc, data) = pack(bytes)?;
    Ok(Body::Whole(enc, data))
}

fn pack(bytes: &[u8]) -> Result<(i64, Vec<u8>), StoreError> {
    if bytes.len() > COMPRESSED_FROM {
        let packed = zstd::bulk::compress(bytes, ZSTD_LEVEL)
            .map_err(|error| StoreError::Invalid(format!("cannot be compressed: {error}")))?;
        if packed.len() < bytes.len() {
            return Ok((ZSTD, packed));
        }
    }
    Ok((RAW, bytes.to_vec()))
}

impl Core {
    /// Stores a value, or finds it, for one more revision.
    pub(super) fn put_value(&mut self, value: &Prepared) -> Result<i64, StoreError> {
        let found: Option<i64> = self
            .conn
            .prepare_cached("SELECT id FROM val WHERE hash = ?1")?
            .query_row([&value.hash], |row| row.get(0))
            .optional()?;
        if let Some(id) = found {
            self.share_value(id)?;
            return Ok(id);
        }
        let (enc, list);
        let data: &[u8] = match &value.body {
            Body::Whole(packed, data) => {
                enc = *packed;
                data
            }
            Body::Chunks(chunks) => {
                enc = LIST;
                list = self.put_chunks(value, chunks)?;
                &list
            }
        };
        let size = i64::try_from(value.bytes.len()).unwrap_or(i64::MAX);
        let sql = "INSERT INTO val (hash, refs, size, enc, data) VALUES (?1, 1, ?2, ?3, ?4)";
        self.conn
            .prepare_cached(sql)?
            .execute(params![value.hash, size, enc, data])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// One more revision has the value.
    pub(super) fn share_value(&self, id: i64) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("UPDATE val SET refs = refs + 1 WHERE id = ?1")?
            .execute([id])?;
        Ok(())
    }

    /// One revision less has the value.
    pub(super) fn release_value(&self, id: i64) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("UPDATE val SET refs = refs - 1 WHERE id = ?1")?
            .execute([id])?;
        self.conn
            .prepare_cached("DELETE FROM val WHERE id = ?1 AND refs <= 0")?
            .execute([id])?;
        Ok(())
    }

    fn put_chunks(&mut self, value: &Prepared, chunks: &[Chunk]) -> Result<Vec<u8>, StoreError> {
        let mut ids = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let found: Option<i64> = self
                .conn
                .prepare_cached("SELECT id FROM chunk WHERE hash = ?1")?
                .query_row([&chunk.hash], |row| row.get(0))
                .optional()?;
            let id = match found {
                Some(id) => {
                    self.spaces.touch_chunk(id);
                    id
                }
                None => self.put_chunk(value, chunk)?,
            };
            ids.push(id);
        }
        for chunk in chunks {
            self.cache.remember_chunk(chunk.hash);
        }
        Ok(write_list(&ids))
    }

    fn put_chunk(&self, value: &Prepared, chunk: &Chunk) -> Result<i64, StoreError> {
        let again;
        let (enc, data) = match &chunk.packed {
            Some((enc, data)) => (*enc, data),
            // It was swept since somebody last saw it.
            None => {
                again = pack(&value.bytes[chunk.from..chunk.to])?;
                (again.0, &again.1)
            }
        };
        let sql = "INSERT INTO chunk (hash, enc, data) VALUES (?1, ?2, ?3)";
        self.conn
            .prepare_cached(sql)?
            .execute(params![chunk.hash, enc, data])?;
        Ok(self.conn.last_insert_rowid())
    }
}

/// What is wrong with a stored value.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) hash: String,
    pub(super) detail: String,
}

/// Reads a value and checks it against its hash.
pub(super) fn load(conn: &Connection, id: i64) -> Result<Result<Arc<[u8]>, Damage>, StoreError> {
    let sql = "SELECT hash, size, enc, data FROM val WHERE id = ?1";
    let found = conn.prepare_cached(sql)?.query_row([id], |row| {
        let (hash, data): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(3)?);
        Ok((hash, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, data))
    });
    let Some((hash, size, enc, data)) = found.optional()? else {
        return Ok(Err(damage(&[], "it is not there")));
    };
    let size = usize::try_from(size).unwrap_or(0);
    if enc == LIST {
        return load_list(conn, &hash, size, &data);
    }
    Ok(unpack(&hash, enc, &data, size).map(Arc::from))
}

fn load_list(
    conn: &Connection,
    hash: &[u8],
    size: usize,
    data: &[u8],
) -> Result<Result<Arc<[u8]>, Damage>, StoreError> {
    let Some(ids) = read_list(data) else {
        return Ok(Err(damage(hash, "its list of chunks cannot be read")));
    };
    let mut bytes = Vec::with_capacity(size);
    let mut list = Sha256::new_with_prefix(b"list");
    for id in ids {
        let sql = "SELECT hash, enc, data FROM chunk WHERE id = ?1";
        let found = conn.prepare_cached(sql)?.query_row([id], |row| {
            let (hash, data): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(2)?);
            Ok((hash, row.get::<_, i64>(1)?, data))
        });
        let Some((chunk, enc, data)) = found.optional()? else {
            return Ok(Err(damage(hash, "one of its chunks is not there")));
        };
        list.update(&chunk);
        match unpack(&chunk, enc, &data, CHUNK_BYTES.2) {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(damage) => return Ok(Err(damage)),
        }
    }
    let found: Hash = list.finalize().into();
    if found[..] != *hash || bytes.len() != size {
        return Ok(Err(damage(hash, "its chunks are not those it was made of")));
    }
    Ok(Ok(bytes.into()))
}

fn unpack(hash: &[u8], enc: i64, data: &[u8], size: usize) -> Result<Vec<u8>, Damage> {
    let bytes = match enc {
        RAW => data.to_vec(),
        ZSTD => zstd::bulk::decompress(data, size)
            .map_err(|error| damage(hash, &format!("it cannot be decompressed: {error}")))?,
        other => return Err(damage(hash, &format!("its form {other} is unknown"))),
    };
    let found: Hash = Sha256::digest(&bytes).into();
    if found[..] != *hash {
        return Err(damage(hash, "its content has another hash"));
    }
    Ok(bytes)
}

fn damage(hash: &[u8], detail: &str) -> Damage {
    let hash = hash.iter().take(8).map(|byte| format!("{byte:02x}"));
    Damage {
        hash: hash.collect(),
        detail: detail.to_owned(),
    }
}

/// Differences between ids, which mostly follow each other, seven bits at a time.
fn write_list(ids: &[i64]) -> Vec<u8> {
    let (mut bytes, mut last) = (Vec::new(), 0_i64);
    for id in ids {
        let step = id.wrapping_sub(last);
        let mut left = u64::from_ne_bytes(((step << 1) ^ (step >> 63)).to_ne_bytes());
        while left >= 0x80 {
            bytes.push(left.to_le_bytes()[0] | 0x80);
            left >>= 7;
        }
        bytes.push(left.to_le_bytes()[0]);
        last = *id;
    }
    bytes
}

pub(super) fn read_list(bytes: &[u8]) -> Option<Vec<i64>> {
    let (mut ids, mut last) = (Vec::new(), 0_i64);
    let mut bytes = bytes.iter();
    while !bytes.as_slice().is_empty() {
        let (mut left, mut shift) = (0_u64, 0);
        loop {
            let byte = *bytes.next()?;
            left |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let half = i64::try_from(left >> 1).ok()?;
        last = last.wrapping_add(if left & 1 == 1 { !half } else { half });
        ids.push(last);
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_come_back(ids in prop::collection::vec(0_i64..i64::MAX / 4, 0..40)) {
            prop_assert_eq!(read_list(&write_list(&ids)), Some(ids));
        }
    }

    #[test]
    fn chunks_that_follow_each_other_take_a_byte_each() {
        let ids: Vec<i64> = (1_000..1_120).collect();
        assert!(write_list(&ids).len() <= 122);
    }
}
