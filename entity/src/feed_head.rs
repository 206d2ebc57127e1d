//! `feed_head`: where each user's feed stands.

use sea_orm::entity::prelude::*;

/// The last record of a user. Without a row a user stands at position 0, at the epoch, with the nil UUID.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed_head")]
pub struct Model {
    /// Whose feed.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub user_id: String,
    /// Of the last record; 0 before the first.
    pub position: i64,
    /// When it was appended, by the database's clock.
    pub recorded_at: DateTimeUtc,
    /// Which record stands there.
    pub record_id: Uuid,
}

/// None: rows are found by key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
