//! The tables of the store.

use crate::database::Schema;

/// The files are marked as "clws".
pub(crate) const SCHEMA: Schema = Schema {
    application_id: 0x636c_7773,
    steps: &[
        include_str!("schema/0001.sql"),
        include_str!("schema/0002.sql"),
        include_str!("schema/0003.sql"),
        include_str!("schema/0004.sql"),
    ],
};
