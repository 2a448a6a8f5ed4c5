//! The tables of the journal.

use crate::database::Schema;

/// The files are marked as "claw".
pub(crate) const SCHEMA: Schema = Schema {
    application_id: 0x636c_6177,
    steps: &[
        include_str!("schema/0001.sql"),
        include_str!("schema/0002.sql"),
    ],
};
