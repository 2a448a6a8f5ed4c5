//! What a piece of work reads in the transaction that ends it.

use super::model::{Found, Look, Namespace, Version, What};
use super::value;
use crate::store::limits::LOOK_BYTES;
use crate::store::{Core, StoreError};

/// The keys as they are now, one answer for each.
pub(crate) fn look(core: &Core, look: &Look) -> Result<Vec<Option<Found>>, StoreError> {
    let mut room = LOOK_BYTES;
    let mut found = Vec::with_capacity(look.keys.len());
    for (key, what) in &look.keys {
        found.push(core.find(&look.namespace, key, *what, &mut room)?);
    }
    Ok(found)
}

/// The version that a namespace has now; 0 where nothing was ever set.
pub(crate) fn version(core: &Core, namespace: &Namespace) -> Version {
    let id = core.spaces.id(namespace);
    let state = id.and_then(|id| core.spaces.state(id));
    state.map_or(0, |state| state.version)
}

impl Core {
    fn find(
        &self,
        namespace: &Namespace,
        key: &str,
        what: What,
        room: &mut usize,
    ) -> Result<Option<Found>, StoreError> {
        let Some(id) = self.spaces.id(namespace) else {
            return Ok(None);
        };
        let head = self.head_row(id, key)?;
        let Some(head) = head.filter(|head| head.expires.is_none_or(|at| at > self.now)) else {
            return Ok(None);
        };
        let value = match what {
            What::Version => None,
            What::Value => {
                let size = usize::try_from(head.size).unwrap_or(usize::MAX);
                let Some(left) = room.checked_sub(size) else {
                    return Err(StoreError::TooLarge {
                        what: "what one request reads",
                        size: LOOK_BYTES - *room + size,
                        limit: LOOK_BYTES,
                    });
                };
                *room = left;
                let loaded = value::load(&self.conn, head.val)?;
                Some(loaded.map_err(|damage| StoreError::Damaged {
                    namespace: namespace.to_string(),
                    key: key.to_owned(),
                    hash: damage.hash,
                    detail: damage.detail,
                })?)
            }
        };
        Ok(Some(Found {
            version: head.version,
            value,
        }))
    }
}
